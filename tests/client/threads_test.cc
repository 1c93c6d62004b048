// One client used by many threads at once, in every way of waiting. Runs under ThreadSanitizer.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <map>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "client/client_fixture.h"

namespace tmem::client {
namespace {

class ThreadsTest : public ClientFixture {};

constexpr uint32_t kIndexes = 40;

// A thread's own objects, and what they must hold.
class Worker {
 public:
  Worker(tmem_client* client, int pool, uint32_t number)
      : client_(client), pool_(pool), number_(number), random_(number) {}

  void Run(int steps) {
    for (int i = 0; i < steps; ++i) Step();
    for (const auto& [page, seed] : model_) Check(page.first, page.second);
  }

 private:
  void Step() {
    const uint64_t object = number_ * 10 + random_() % 3;
    const uint32_t index = random_() % kIndexes;
    const tmem_oid oid = Oid(object);
    switch (random_() % 5) {
      case 0:
      case 1: {
        const auto count = static_cast<uint32_t>(random_() % 6 + 1);
        const uint64_t seed = random_();
        const Pages pages = MakePages(seed, count);
        ASSERT_EQ(tmem_put_batch(client_, pool_, &oid, index, count, pages.data(), nullptr),
                  static_cast<int>(count));
        for (uint32_t k = 0; k < count; ++k) model_[{object, index + k}] = seed + k;
        break;
      }
      case 2:
        Check(object, index);
        break;
      case 3:
        ASSERT_EQ(tmem_flush_page(client_, pool_, &oid, index), 1);
        model_.erase({object, index});
        break;
      case 4:
        if (random_() % 8 != 0) break;
        ASSERT_EQ(tmem_flush_object(client_, pool_, &oid), 1);
        std::erase_if(model_, [&](const auto& page) { return page.first.first == object; });
        break;
    }
  }

  void Check(uint64_t object, uint32_t index) {
    const tmem_oid oid = Oid(object);
    Pages back(TMEM_PAGE_SIZE);
    const auto at = model_.find({object, index});
    ASSERT_EQ(tmem_get(client_, pool_, &oid, index, back.data()), at != model_.end() ? 1 : 0);
    if (at == model_.end()) return;
    ASSERT_EQ(back, MakePages(at->second));
  }

  tmem_client* const client_;
  const int pool_;
  const uint32_t number_;
  std::mt19937_64 random_;
  std::map<std::pair<uint64_t, uint32_t>, uint64_t> model_;
};

TEST_F(ThreadsTest, ThreadsShareQueues) {
  for (const Options& options :
       {Options{.queues = 1, .slots = 8, .spin_us = 1}, Options{.queues = 3, .slots = 16},
        Options{.queues = 2, .spin_us = 2000}}) {
    Script script;
    script.limits.max_ring_page_order = 0;
    StartBackend(std::move(script));
    const ClientPtr client = Connect(options);
    const int pool = NewPool(client, TMEM_POOL_PERSIST);
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < 6; ++i) {
      threads.emplace_back([&, i] { Worker(client.get(), pool, i).Run(400); });
    }
    for (std::thread& thread : threads) thread.join();
  }
}

// Submitters, pollers, drainers and posters at once: every completion runs once.
TEST_F(ThreadsTest, EveryWayOfWaitingAtOnce) {
  StartBackend();
  const ClientPtr client = Connect({.queues = 2, .ring_page_order = 1, .slots = 8, .spin_us = 1});
  const int persistent = NewPool(client, TMEM_POOL_PERSIST);
  const int ephemeral = NewPool(client, 0);
  constexpr int kSubmitters = 2;
  constexpr int kEach = 500;
  std::atomic<int> completed{0};
  std::atomic<int> finished{0};
  const auto done = [](void* arg, int result, uint64_t) {
    EXPECT_EQ(result, 3);
    ++*static_cast<std::atomic<int>*>(arg);
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < kSubmitters; ++t) {
    threads.emplace_back([&, t] {
      const Pages pages = MakePages(1, 3);
      for (int i = 0; i < kEach; ++i) {
        const tmem_oid oid = Oid(static_cast<uint64_t>(t * kEach + i));
        EXPECT_EQ(
            tmem_submit_put(client.get(), persistent, &oid, 0, 3, pages.data(), done, &completed),
            0);
      }
      ++finished;
    });
  }
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      while (finished < kSubmitters) EXPECT_GE(tmem_poll(client.get(), 1), 0);
    });
  }
  threads.emplace_back([&] {
    while (finished < kSubmitters) EXPECT_EQ(tmem_drain(client.get()), 0);
  });
  threads.emplace_back([&] {
    const Pages page = MakePages(2);
    const tmem_oid oid = Oid(1);
    for (uint32_t i = 0; i < kEach; ++i) {
      EXPECT_EQ(tmem_put_posted(client.get(), ephemeral, &oid, i, page.data()), 0);
    }
  });
  threads.emplace_back([&] { Worker(client.get(), persistent, 1000).Run(300); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(tmem_drain(client.get()), 0);
  EXPECT_EQ(completed, kSubmitters * kEach);
  EXPECT_GE(Stats(client).puts_stored, 3u * kSubmitters * kEach + kEach);
}

// Threads at work while the device is closed and opened, and daemons die: nothing is lost or done
// in the wrong order.
TEST_F(ThreadsTest, WorkGoesOnWhileDaemonsComeAndGo) {
  const auto store = std::make_shared<FakeStore>();
  const auto on_the_store = [&] {
    Script script;
    script.store = store;
    return script;
  };
  StartBackend(on_the_store());
  const ClientPtr client = Connect({.queues = 2, .ring_page_order = 1, .slots = 8});
  const int pool = NewPool(client, TMEM_POOL_PERSIST);
  std::vector<std::thread> threads;
  std::atomic<int> working{3};
  for (uint32_t i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      Worker(client.get(), pool, i).Run(600);
      --working;
    });
  }
  for (int i = 0; i < 8 && working > 0; ++i) {
    const uint64_t before = backend_->requests();
    while (working > 0 && backend_->requests() < before + 100) std::this_thread::yield();
    if (i % 2 == 0) {
      backend_->Commit(Fault::kClose);
    } else {
      StartBackend(on_the_store());
    }
  }
  for (std::thread& thread : threads) thread.join();
}

// The end of the connection reaches every waiter.
TEST_F(ThreadsTest, EveryWaiterHearsOfTheEnd) {
  Script script;
  script.answer = [](const tmemif_request& request, tmemif_response&) {
    return request.op == TMEMIF_OP_NEW_POOL;
  };
  StartBackend(std::move(script));
  const ClientPtr client = Connect({.queues = 2, .ring_page_order = 1, .slots = 4, .spin_us = 1});
  const int pool = NewPool(client, TMEM_POOL_PERSIST);
  std::vector<std::thread> threads;
  std::atomic<int> refused{0};
  // More than there are slots: some wait for answers, others for room.
  for (uint64_t object = 0; object < 12; ++object) {
    threads.emplace_back([&, object] {
      const tmem_oid oid = Oid(object);
      const Pages page = MakePages(1);
      if (tmem_put(client.get(), pool, &oid, 0, page.data()) == -ENOTCONN) ++refused;
    });
  }
  threads.emplace_back([&] { EXPECT_EQ(tmem_drain(client.get()), -ENOTCONN); });
  while (Stats(client).requests < 5) std::this_thread::yield();
  backend_->Commit(Fault::kCloseWithError);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(refused, 12);
}

// Once, a thread in tmem_poll that found another one waiting on its queue slept on after that one
// had its answer and went: nobody heard of the next answer.
TEST_F(ThreadsTest, WhoPollsTakesOverFromAWaiterThatGoes) {
  std::atomic<bool> both_sleep{false};
  std::atomic<bool> first_is_gone{false};
  Script script;
  script.answer = [&](const tmemif_request& request, tmemif_response&) {
    if (request.op == TMEMIF_OP_PUT_PAGE) {
      (request.u.page.index == 0 ? both_sleep : first_is_gone).wait(false);
    }
    return true;
  };
  StartBackend(std::move(script));
  const ClientPtr client = Connect({.queues = 1, .spin_us = 1});
  const int pool = NewPool(client, TMEM_POOL_PERSIST);
  const tmem_oid oid = Oid(1);
  const Pages page = MakePages(1);
  const auto sleeps = [&] {
    tmem_stats stats{};
    tmem_get_stats(client.get(), &stats);
    return stats.sleeps;
  };
  // Or longer: whoever is woken in vain sleeps once more.
  const auto await_sleep_after = [&](uint64_t before) {
    while (sleeps() <= before) std::this_thread::yield();
  };

  uint64_t before = sleeps();
  std::thread first([&] {
    EXPECT_EQ(tmem_put(client.get(), pool, &oid, 0, page.data()), 1);
    first_is_gone = true;
    first_is_gone.notify_all();
  });
  await_sleep_after(before);
  before = sleeps();
  std::thread poller([&] {
    int result = 0;
    const auto done = [](void* arg, int status, uint64_t) { *static_cast<int*>(arg) = status; };
    EXPECT_EQ(tmem_submit_put(client.get(), pool, &oid, 1, 1, page.data(), done, &result), 0);
    while (result == 0) EXPECT_GE(tmem_poll(client.get(), -1), 0);
    EXPECT_EQ(result, 1);
  });
  await_sleep_after(before);
  both_sleep = true;
  both_sleep.notify_all();
  first.join();
  poller.join();
}

}  // namespace
}  // namespace tmem::client
