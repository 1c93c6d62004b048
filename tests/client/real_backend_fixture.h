// The client's tests against the real backend and store: all of the daemon but its process.
#ifndef TMEM_TESTS_CLIENT_REAL_BACKEND_FIXTURE_H_
#define TMEM_TESTS_CLIENT_REAL_BACKEND_FIXTURE_H_

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "client/client_fixture.h"
#include "compress/page_codec.h"
#include "hypercall/backend.h"
#include "hypercall/loopback/bell.h"
#include "pools/store.h"

namespace tmem::client {

// Serves every queue in one thread, without sleeping: the simplest host that is right.
class SpinningHost final : public QueueHost {
 public:
  SpinningHost() : thread_([this] { Run(); }) {}
  ~SpinningHost() override {
    stop_ = true;
    thread_.join();
  }
  void Attach(std::shared_ptr<tmem::Queue> queue) override {
    MutexLock lock(mutex_);
    queues_.push_back(std::move(queue));
  }
  void Detach(const tmem::Queue& queue) override {
    MutexLock lock(mutex_);
    std::erase_if(queues_, [&](const auto& q) { return q.get() == &queue; });
  }

 private:
  void Run() {
    PageCodec codec;
    while (!stop_) {
      {
        MutexLock lock(mutex_);
        for (const auto& queue : queues_) queue->Process(codec, PageCount(64));
      }
      std::this_thread::yield();
    }
  }

  std::atomic<bool> stop_{false};
  Mutex mutex_{LockRank::kControl};
  std::vector<std::shared_ptr<tmem::Queue>> queues_;
  std::thread thread_;
};

class RealBackendFixture : public ClientFixture {
 protected:
  void SetUp() override {
    auto hypervisor = loopback::LoopbackHypervisor::Create({.socket_path = socket_path_});
    auto store = Store::Create({.capacity = MiB(64)});
    ASSERT_TRUE(hypervisor && store);
    hypervisor_ = *std::move(hypervisor);
    store_ = *std::move(store);
    backend_ = std::make_unique<Backend>(
        *hypervisor_, *store_, host_, clock_,
        [](const GuestInfo&) { return std::optional<GuestSettings>(GuestSettings{}); },
        WireLimits{});
    ASSERT_TRUE(backend_->Start());
    control_ = std::thread([this] { Control(); });
  }

  void TearDown() override {
    stop_ = true;
    bell_.Ring();
    control_.join();
    backend_.reset();
    EXPECT_TRUE(store_->Guests().empty()) << "a guest outlived its connection";
  }

  void Control() {
    std::vector<pollfd> waits = {{bell_.fd(), POLLIN, 0}};
    for (const int fd : backend_->PollFds()) waits.push_back({fd, POLLIN, 0});
    while (true) {
      (void)::poll(waits.data(), waits.size(), -1);
      backend_->HandleEvents();
      if (stop_ && backend_->Connections().empty()) return;
    }
  }

  const SteadyClock clock_;
  const loopback::Bell bell_ = *loopback::Bell::Create();
  std::unique_ptr<loopback::LoopbackHypervisor> hypervisor_;
  std::unique_ptr<Store> store_;
  SpinningHost host_;
  std::unique_ptr<Backend> backend_;
  std::atomic<bool> stop_{false};
  std::thread control_;
};

}  // namespace tmem::client

#endif  // TMEM_TESTS_CLIENT_REAL_BACKEND_FIXTURE_H_
