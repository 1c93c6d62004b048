// The threads that serve guests. Each owns some queues, a codec, and nothing that another thread
// touches: what others want of a worker reaches it as a task that it runs between two rounds.
//
// Threads: one control thread calls everything here. Never from a worker.
#ifndef TMEM_DAEMON_WORKER_POOL_H_
#define TMEM_DAEMON_WORKER_POOL_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "base/adaptive_spin.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "compress/page_codec.h"
#include "daemon/queue_poller.h"
#include "hypercall/backend.h"

namespace tmem::daemon {

struct WorkerConfig {
  Duration spin_limit{};
  int zstd_level = 1;
};

// One thread. Private to WorkerPool.
class Worker {
 public:
  Worker(const Clock& clock, const WorkerConfig& config, std::unique_ptr<QueuePoller> poller);
  ~Worker();  // lets the queues go and ends the thread

  // Runs on the worker's thread, soon; tasks run in the order in which they were posted.
  using Task = std::function<void(Worker&)>;
  void Post(Task task) TMEM_EXCLUDES(mutex_);
  // Posts and waits until it ran.
  void Call(const Task& task);

  const OperationTimes& times() const { return poller_->times(); }

  // For tasks.
  QueuePoller& poller() { return *poller_; }
  void Configure(const WorkerConfig& config);

 private:
  void Run();
  void RunTasks() TMEM_EXCLUDES(mutex_);
  void Serve();

  // The worker's thread only.
  const Clock& clock_;
  const std::unique_ptr<QueuePoller> poller_;
  PageCodec codec_;
  AdaptiveSpin spin_;
  bool stopping_ = false;

  Mutex mutex_{LockRank::kLeaf};
  std::vector<Task> tasks_ TMEM_GUARDED_BY(mutex_);
  std::atomic<bool> has_tasks_{false};  // spares the lock between rounds; set and read with it held

  std::thread thread_;  // last: runs while all of the above exists
};

class WorkerPool final : public QueueHost {
 public:
  // REQUIRES: count > 0. kExhausted if there are no more file descriptors.
  static Result<std::unique_ptr<WorkerPool>> Create(uint32_t count, const WorkerConfig& config,
                                                    const Clock& clock);

  // To the worker with the fewest queues.
  void Attach(std::shared_ptr<Queue> queue) override;
  void Detach(const Queue& queue) override;

  // Holds for requests that come from now on.
  void Configure(const WorkerConfig& config);

  // True if every worker came around since the last call: none hangs. Never waits.
  bool Responsive();

  size_t size() const { return workers_.size(); }

  // Of all workers together.
  OperationTimes::Snapshot Times() const;

 private:
  struct Slot {
    std::unique_ptr<Worker> worker;
    size_t queues = 0;
    std::shared_ptr<std::atomic<bool>> answered = std::make_shared<std::atomic<bool>>(true);
  };

  WorkerPool() = default;

  std::vector<Slot> workers_;
  std::map<const Queue*, Slot*> homes_;
};

// What `workers = 0` means: one less than there are processors to run on, at least one.
uint32_t DefaultWorkers();

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_WORKER_POOL_H_
