#include "daemon/worker_pool.h"

#include <gtest/gtest.h>

#include <future>
#include <thread>
#include <vector>

#include "daemon/served_guest.h"

namespace tmem::daemon {
namespace {

using std::chrono::microseconds;

constexpr ObjectId kObject{{1, 2, 3}};

class WorkerPoolTest : public testing::Test {
 protected:
  std::unique_ptr<WorkerPool> Pool(uint32_t workers, Duration spin_limit = microseconds(50)) {
    return std::move(
        *WorkerPool::Create(workers, {.spin_limit = spin_limit, .zstd_level = 1}, clock_));
  }

  // A pool of the guest's, as its first request.
  static uint32_t NewPool(ServedGuest& guest) {
    guest.Send(NewPoolRequest(kPersistentPool));
    const auto response = guest.Wait();
    EXPECT_TRUE(response);
    return response ? static_cast<uint32_t>(response->status) : 0;
  }

  // Puts and gets pages one by one, each checked.
  static void Work(ServedGuest& guest, uint32_t pages) {
    const uint32_t pool = NewPool(guest);
    for (uint32_t i = 0; i < pages; ++i) {
      guest.Send(PutRequest(pool, kObject, i, 0));
      ASSERT_EQ(guest.Wait().value_or(tmemif_response{}).status, 1);
      guest.Send(GetRequest(pool, kObject, i, 1));
      ASSERT_EQ(guest.Wait().value_or(tmemif_response{}).status, 1);
    }
  }

  FakeHypervisor hypervisor_;
  std::unique_ptr<Store> store_ = Store::Create({.capacity = MiB(64)}).value();
  SteadyClock clock_;
};

TEST_F(WorkerPoolTest, ServesManyQueuesAtOnce) {
  for (const Duration spin : {Duration::zero(), Duration(microseconds(50))}) {
    std::vector<std::unique_ptr<ServedGuest>> guests;
    const auto pool = Pool(2, spin);
    for (uint16_t id = 1; id <= 5; ++id) {
      guests.push_back(std::make_unique<ServedGuest>(hypervisor_, *store_, id));
      pool->Attach(guests.back()->queue());
    }
    {
      std::vector<std::jthread> threads;
      for (const auto& guest : guests) threads.emplace_back([&guest] { Work(*guest, 200); });
    }
    for (const auto& guest : guests) pool->Detach(*guest->queue());
    for (uint16_t id = 1; id <= 5; ++id) {
      store_->RemoveGuest({id});
      hypervisor_.RemoveGuest(id);
    }
  }
}

TEST_F(WorkerPoolTest, SpreadsQueuesOverWorkers) {
  // One of the two workers is held up; of two queues one must still be served.
  std::promise<void> held;
  std::promise<void> release;
  ServedGuest bad(hypervisor_, *store_, 1, [&](std::string_view) {
    held.set_value();
    release.get_future().wait();
  });
  ServedGuest good(hypervisor_, *store_, 2);
  const auto pool = Pool(2);
  pool->Attach(bad.queue());
  pool->Attach(good.queue());
  bad.BreakProtocol();
  held.get_future().wait();
  NewPool(good);
  release.set_value();
}

TEST_F(WorkerPoolTest, AfterDetachNobodyTouchesTheQueue) {
  ServedGuest guest(hypervisor_, *store_, 1);
  const auto pool = Pool(1);
  for (int i = 0; i < 200; ++i) {
    pool->Attach(guest.queue());
    if (guest.front().free() > 0) guest.Send(FlushObjectRequest(0, kObject));
    pool->Detach(*guest.queue());
    EXPECT_EQ(guest.queue().use_count(), 1);
    while (guest.front().Take()) {
    }
  }
  // What is on the ring now waits for the next time.
  while (guest.front().consumed() != guest.front().produced()) {
    pool->Attach(guest.queue());
    ASSERT_TRUE(guest.Wait());
    pool->Detach(*guest.queue());
  }
  guest.Send(FlushObjectRequest(0, kObject));
  pool->Detach(*guest.queue());
  EXPECT_FALSE(guest.front().Take());
}

TEST_F(WorkerPoolTest, AStormOfNotificationsStarvesNobody) {
  ServedGuest noisy(hypervisor_, *store_, 1);
  ServedGuest modest(hypervisor_, *store_, 2);
  const auto pool = Pool(1);
  pool->Attach(noisy.queue());
  pool->Attach(modest.queue());
  const std::jthread storm([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) noisy.front().Notify();
  });
  Work(modest, 200);
}

TEST_F(WorkerPoolTest, ChangesItsConfigurationUnderLoad) {
  ServedGuest guest(hypervisor_, *store_, 1);
  const auto pool = Pool(1);
  pool->Attach(guest.queue());
  std::jthread load([&] { Work(guest, 300); });
  for (int i = 0; i < 50; ++i) {
    pool->Configure({.spin_limit = microseconds(i % 2 * 100), .zstd_level = 1 + i % 3});
  }
}

TEST_F(WorkerPoolTest, ResponsiveTellsWhetherAWorkerHangs) {
  std::promise<void> held;
  std::promise<void> release;
  ServedGuest guest(hypervisor_, *store_, 1, [&](std::string_view) {
    held.set_value();
    release.get_future().wait();
  });
  ServedGuest other(hypervisor_, *store_, 2);
  const auto pool = Pool(1);
  EXPECT_TRUE(pool->Responsive());
  pool->Attach(guest.queue());
  pool->Attach(other.queue());
  pool->Detach(*other.queue());  // tasks run in order: the question was answered before
  EXPECT_TRUE(pool->Responsive());
  guest.BreakProtocol();
  held.get_future().wait();
  pool->Responsive();  // may have been answered before the worker got stuck
  EXPECT_FALSE(pool->Responsive());
  release.set_value();
  pool->Detach(*guest.queue());
  EXPECT_TRUE(pool->Responsive());
}

TEST(DefaultWorkersTest, IsAtLeastOne) { EXPECT_GE(DefaultWorkers(), 1u); }

}  // namespace
}  // namespace tmem::daemon
