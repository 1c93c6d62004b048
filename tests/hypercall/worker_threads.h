// Threads that serve queues as the daemon's workers do: a turn each, then armed and asleep.
//
// Threads: Attach and Detach from one control thread.
#ifndef TMEM_TESTS_HYPERCALL_WORKER_THREADS_H_
#define TMEM_TESTS_HYPERCALL_WORKER_THREADS_H_

#include <poll.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "compress/page_codec.h"
#include "hypercall/connection.h"
#include "hypercall/fake_hypervisor.h"
#include "hypercall/queue.h"

namespace tmem {

class WorkerThreads final : public QueueHost {
 public:
  explicit WorkerThreads(size_t count) {
    for (size_t i = 0; i < count; ++i) workers_.push_back(std::make_unique<Worker>());
  }

  void Attach(std::shared_ptr<Queue> queue) override {
    workers_[next_++ % workers_.size()]->Change(
        [&](auto& queues) { queues.push_back(std::move(queue)); });
  }
  void Detach(const Queue& queue) override {
    for (const auto& worker : workers_) {
      worker->Change([&](auto& queues) {
        std::erase_if(queues, [&](const auto& attached) { return attached.get() == &queue; });
      });
    }
  }

 private:
  class Worker {
   public:
    Worker() : thread_([this] { Run(); }) {}
    ~Worker() {
      stopping_ = true;
      bell_.Ring();
      thread_.join();
    }
    void Change(auto action) {
      const std::lock_guard lock(mutex_);
      action(queues_);
      bell_.Ring();
    }

   private:
    void Run() {
      while (!stopping_) {
        std::vector<pollfd> fds = {{.fd = bell_.fd(), .events = POLLIN, .revents = 0}};
        if (Round(fds)) continue;
        // Outside the lock a queue may go: its descriptor is then not ours any more, and the bell
        // has rung.
        ::poll(fds.data(), fds.size(), -1);
        bell_.Silence();
      }
    }
    // A turn for each queue. False if all are armed and idle.
    bool Round(std::vector<pollfd>& fds) {
      const std::lock_guard lock(mutex_);
      bool busy = false;
      for (const auto& queue : queues_) {
        queue->Acknowledge();
        busy |= queue->Process(codec_, PageCount(64)) == Queue::Turn::kMore || queue->Arm();
        fds.push_back({.fd = queue->event_fd(), .events = POLLIN, .revents = 0});
      }
      return busy;
    }

    Bell bell_;
    PageCodec codec_;
    std::mutex mutex_;
    std::vector<std::shared_ptr<Queue>> queues_;
    std::atomic<bool> stopping_{false};
    std::thread thread_;  // last: runs while all of the above exists
  };

  std::vector<std::unique_ptr<Worker>> workers_;
  size_t next_ = 0;
};

}  // namespace tmem

#endif  // TMEM_TESTS_HYPERCALL_WORKER_THREADS_H_
