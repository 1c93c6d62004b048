// Daemons that go away and come back while the client works.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "client/client_fixture.h"

namespace tmem::client {
namespace {

class ReconnectTest : public ClientFixture {
 protected:
  // A backend on the store that outlives it.
  Script OnTheStore() const {
    Script script;
    script.store = store_;
    return script;
  }

  const std::shared_ptr<FakeStore> store_ = std::make_shared<FakeStore>();
};

TEST_F(ReconnectTest, GoesOnWhenTheDeviceIsClosedAndOpenedAgain) {
  StartBackend();
  const ClientPtr client = Connect({.queues = 2});
  const int pool = NewPool(client, TMEM_POOL_PERSIST);
  const tmem_oid oid = Oid(1);
  Pages back(TMEM_PAGE_SIZE);
  for (uint32_t i = 0; i < 10; ++i) {
    const Pages page = MakePages(i);
    ASSERT_EQ(tmem_put(client.get(), pool, &oid, i, page.data()), 1);
    backend_->Commit(Fault::kClose);
    ASSERT_EQ(tmem_get(client.get(), pool, &oid, i, back.data()), 1);
    ASSERT_EQ(back, page);
  }
  EXPECT_EQ(Stats(client).reconnects, 0u);  // the daemon was there all the time
}

// The keeper may miss that the device was open, many times in a row: it gave up after eight.
TEST_F(ReconnectTest, GoesOnHoweverOftenTheDeviceIsClosedInTheHandshake) {
  std::atomic<int> closings{0};
  Script script;
  script.fault = [&](Step step) {
    return step == Step::kMapped && closings > 0 && closings-- > 0 ? Fault::kClose : Fault::kNone;
  };
  StartBackend(std::move(script));
  const ClientPtr client = Connect();
  const int pool = NewPool(client, TMEM_POOL_PERSIST);
  const tmem_oid oid = Oid(1);
  Pages page = MakePages(1);
  ASSERT_EQ(tmem_put(client.get(), pool, &oid, 0, page.data()), 1);
  closings = 100;
  backend_->Commit(Fault::kClose);
  EXPECT_EQ(tmem_get(client.get(), pool, &oid, 0, page.data()), 1);
  EXPECT_EQ(page, MakePages(1));
  EXPECT_EQ(closings, 0);
  EXPECT_EQ(Stats(client).reconnects, 0u);
}

TEST_F(ReconnectTest, GoesOnWithADaemonThatKeptThePages) {
  StartBackend(OnTheStore());
  const ClientPtr client = Connect({.queues = 2});
  const int pool = NewPool(client, TMEM_POOL_PERSIST);
  const tmem_oid oid = Oid(1);
  Pages back(TMEM_PAGE_SIZE);
  for (uint32_t i = 0; i < 10; ++i) {
    const Pages page = MakePages(i);
    ASSERT_EQ(tmem_put(client.get(), pool, &oid, i, page.data()), 1);
    StartBackend(OnTheStore());
    ASSERT_EQ(tmem_get(client.get(), pool, &oid, i, back.data()), 1);
    ASSERT_EQ(back, page);
  }
  EXPECT_EQ(Stats(client).reconnects, 10u);
}

// The daemon dies after executing a request and before it shows the response; its successor
// executes the request again.
TEST_F(ReconnectTest, RequestsThatWereNotAnsweredAreExecutedAgain) {
  Script script = OnTheStore();
  script.die_after_requests = 40;
  StartBackend(std::move(script));
  const ClientPtr client = Connect({.queues = 2, .ring_page_order = 1, .slots = 16});
  const int pool = NewPool(client, TMEM_POOL_PERSIST);
  std::thread successor([&] {
    backend_->AwaitDeath();
    StartBackend(OnTheStore());
  });
  struct Put {
    static void Done(void* arg, int result, uint64_t) {
      EXPECT_EQ(result, 1);
      ++*static_cast<int*>(arg);
    }
  };
  int completed = 0;
  for (uint32_t i = 0; i < 200; ++i) {
    const tmem_oid oid = Oid(i % 9);
    const Pages page = MakePages(i);
    ASSERT_EQ(tmem_submit_put(client.get(), pool, &oid, i, 1, page.data(), Put::Done, &completed),
              0);
  }
  EXPECT_EQ(tmem_drain(client.get()), 0);
  successor.join();
  EXPECT_EQ(completed, 200);
  for (uint32_t i = 0; i < 200; ++i) {
    const tmem_oid oid = Oid(i % 9);
    Pages back(TMEM_PAGE_SIZE);
    ASSERT_EQ(tmem_get(client.get(), pool, &oid, i, back.data()), 1);
    EXPECT_EQ(back, MakePages(i));
  }
}

TEST_F(ReconnectTest, WaitersOfEveryKindGoOn) {
  StartBackend(OnTheStore());
  const ClientPtr client = Connect({.queues = 2, .spin_us = 1});
  const int pool = NewPool(client, TMEM_POOL_PERSIST);
  backend_.reset();
  std::atomic<int> started{0};
  std::vector<std::thread> threads;
  for (uint64_t object = 0; object < 4; ++object) {
    threads.emplace_back([&, object] {
      ++started;
      const tmem_oid oid = Oid(object);
      const Pages page = MakePages(object);
      EXPECT_EQ(tmem_put(client.get(), pool, &oid, 0, page.data()), 1);
    });
  }
  threads.emplace_back([&] {
    ++started;
    const tmem_oid oid = Oid(100);
    const Pages page = MakePages(100);
    int result = 0;
    const auto done = [](void* arg, int status, uint64_t) { *static_cast<int*>(arg) = status; };
    EXPECT_EQ(tmem_submit_put(client.get(), pool, &oid, 0, 1, page.data(), done, &result), 0);
    while (result == 0) EXPECT_GE(tmem_poll(client.get(), -1), 0);
    EXPECT_EQ(result, 1);
  });
  while (started != 5) std::this_thread::yield();
  StartBackend(OnTheStore());
  for (std::thread& thread : threads) thread.join();
  backend_.reset();  // its thread owns the store
  EXPECT_EQ(store_->pages(), 5u);
}

TEST_F(ReconnectTest, DoesNotLieAboutPagesThatAreLost) {
  StartBackend();
  const ClientPtr client = Connect();
  const int pool = NewPool(client, TMEM_POOL_PERSIST);
  const tmem_oid oid = Oid(1);
  Pages page = MakePages(1);
  ASSERT_EQ(tmem_put(client.get(), pool, &oid, 0, page.data()), 1);
  Script other;
  other.store_id = "22222222-2222-2222-2222-222222222222";
  StartBackend(std::move(other));
  EXPECT_EQ(tmem_get(client.get(), pool, &oid, 0, page.data()), -ENOTCONN);
}

TEST_F(ReconnectTest, AStoreWithoutAnIdIsTakenForLost) {
  Script script;
  script.missing_keys = {"store-id"};
  StartBackend(script);
  const ClientPtr client = Connect();
  const int pool = NewPool(client, TMEM_POOL_PERSIST);
  StartBackend(script);
  const tmem_oid oid = Oid(1);
  Pages page = MakePages(1);
  EXPECT_EQ(tmem_get(client.get(), pool, &oid, 0, page.data()), -ENOTCONN);
}

TEST_F(ReconnectTest, ADaemonWithLowerLimitsIsNotGoneOnWith) {
  StartBackend(OnTheStore());
  const ClientPtr client = Connect({.queues = 4});
  const int pool = NewPool(client, TMEM_POOL_PERSIST);
  Script script = OnTheStore();
  script.limits.max_queues = 3;
  StartBackend(std::move(script));
  const tmem_oid oid = Oid(1);
  Pages page = MakePages(1);
  EXPECT_EQ(tmem_get(client.get(), pool, &oid, 0, page.data()), -ENOTCONN);
}

TEST_F(ReconnectTest, ASuccessorMayDieInItsHandshakeToo) {
  StartBackend(OnTheStore());
  const ClientPtr client = Connect();
  const int pool = NewPool(client, TMEM_POOL_PERSIST);
  const tmem_oid oid = Oid(1);
  const Pages page = MakePages(1);
  for (const Step step :
       {Step::kIntroduced, Step::kNodes, Step::kOffered, Step::kMapped, Step::kConnected}) {
    Script script = OnTheStore();
    script.fault = [step](Step at) { return at == step ? Fault::kDie : Fault::kNone; };
    StartBackend(std::move(script));
    backend_->AwaitDeath();
  }
  StartBackend(OnTheStore());
  EXPECT_EQ(tmem_put(client.get(), pool, &oid, 0, page.data()), 1);
}

TEST_F(ReconnectTest, DisconnectsWhileTheDaemonIsAway) {
  StartBackend();
  ClientPtr client = Connect();
  backend_.reset();
  client.reset();
}

}  // namespace
}  // namespace tmem::client
