// The client against the real backend and store: all of the daemon but its process.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <map>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "client/real_backend_fixture.h"

namespace tmem::client {
namespace {

using RealBackendTest = RealBackendFixture;

TEST_F(RealBackendTest, ServesAGuest) {
  const ClientPtr client = Connect();
  const int pool = NewPool(client, TMEM_POOL_PERSIST);
  const tmem_oid oid = Oid(1);
  const Pages pages = MakePages(1, 64);
  Pages back(pages.size());
  uint64_t done = 0;
  EXPECT_EQ(tmem_put_batch(client.get(), pool, &oid, 0, 64, pages.data(), &done), 64);
  EXPECT_EQ(tmem_get_batch(client.get(), pool, &oid, 0, 64, back.data(), &done), 64);
  EXPECT_EQ(pages, back);
  EXPECT_EQ(tmem_flush_object(client.get(), pool, &oid), 1);
  EXPECT_EQ(tmem_get(client.get(), pool, &oid, 0, back.data()), -TMEM_EEMPTY);
  EXPECT_EQ(tmem_destroy_pool(client.get(), pool), 1);
  EXPECT_EQ(tmem_get(client.get(), pool, &oid, 0, back.data()), -ENODEV);
  EXPECT_EQ(tmem_new_pool(client.get(), nullptr, TMEM_POOL_PERSIST | TMEM_POOL_SHARED), -EPERM);
}

TEST_F(RealBackendTest, GivesOutSixteenPools) {
  const ClientPtr client = Connect();
  for (int i = 0; i < 16; ++i) EXPECT_EQ(NewPool(client, 0), i);
  EXPECT_EQ(tmem_new_pool(client.get(), nullptr, 0), -ENOSPC);
}

TEST_F(RealBackendTest, KeepsGuestsApart) {
  const ClientPtr one = TryConnect({}, "one");
  const ClientPtr two = TryConnect({}, "two");
  ASSERT_TRUE(one && two) << error_.data();
  EXPECT_NE(tmem_guest_id(one.get()), tmem_guest_id(two.get()));
  const int pool = NewPool(one, TMEM_POOL_PERSIST);
  ASSERT_EQ(NewPool(two, TMEM_POOL_PERSIST), pool);
  const tmem_oid oid = Oid(1);
  Pages page = MakePages(1);
  EXPECT_EQ(tmem_put(one.get(), pool, &oid, 0, page.data()), 1);
  EXPECT_EQ(tmem_get(two.get(), pool, &oid, 0, page.data()), -TMEM_EEMPTY);
}

// Single operations, batches, posted puts and asynchronous ones, on several queues, against a plain
// map of what an ephemeral and a persistent pool must hold. The store is large enough that nothing
// is evicted.
TEST_F(RealBackendTest, AgreesWithAModel) {
  const ClientPtr client = Connect({.queues = 3, .ring_page_order = 1, .slots = 16});
  const int pools[] = {NewPool(client, 0), NewPool(client, TMEM_POOL_PERSIST)};
  std::map<std::tuple<int, uint64_t, uint32_t>, uint64_t> model;
  std::mt19937_64 random(7);
  const auto ignore = [](void*, int, uint64_t) {};
  for (int step = 0; step < 20'000; ++step) {
    const int pool = pools[random() % 2];
    const uint64_t object = random() % 5;
    const auto index = static_cast<uint32_t>(random() % 50);
    const auto count = static_cast<uint32_t>(random() % 20 + 1);
    const tmem_oid oid = Oid(object);
    switch (random() % 6) {
      case 0:
      case 1: {
        const uint64_t seed = random() % 1000;
        const Pages pages = MakePages(seed, count);
        const bool wait = random() % 2 == 0;
        if (wait) {
          ASSERT_EQ(tmem_put_batch(client.get(), pool, &oid, index, count, pages.data(), nullptr),
                    static_cast<int>(count));
        } else {
          ASSERT_EQ(tmem_submit_put(client.get(), pool, &oid, index, count, pages.data(), ignore,
                                    nullptr),
                    0);
        }
        for (uint32_t k = 0; k < count; ++k) model[{pool, object, index + k}] = seed + k;
        break;
      }
      case 2: {
        if (pool != pools[0]) break;
        const Pages page = MakePages(step);
        ASSERT_EQ(tmem_put_posted(client.get(), pool, &oid, index, page.data()), 0);
        model[{pool, object, index}] = static_cast<uint64_t>(step);
        break;
      }
      case 3:
      case 4: {
        Pages back(count * TMEM_PAGE_SIZE);
        uint64_t done = 0;
        tmem_get_batch(client.get(), pool, &oid, index, count, back.data(), &done);
        for (uint32_t k = 0; k < count; ++k) {
          const auto at = model.find({pool, object, index + k});
          ASSERT_EQ(done >> k & 1, at != model.end() ? 1u : 0u);
          if (at == model.end()) continue;
          const Pages expected = MakePages(at->second);
          ASSERT_TRUE(std::equal(expected.begin(), expected.end(),
                                 back.begin() + static_cast<long>(k) * TMEM_PAGE_SIZE));
          if (pool == pools[0]) model.erase(at);
        }
        break;
      }
      case 5:
        ASSERT_EQ(tmem_flush_batch(client.get(), pool, &oid, index, count, nullptr),
                  static_cast<int>(count));
        for (uint32_t k = 0; k < count; ++k) model.erase({pool, object, index + k});
        break;
    }
  }
  EXPECT_EQ(tmem_drain(client.get()), 0);
  EXPECT_EQ(Stats(client).puts_refused, 0u);
}

TEST_F(RealBackendTest, ServesThreadsOfSeveralGuests) {
  std::vector<std::thread> threads;
  for (int guest = 0; guest < 3; ++guest) {
    threads.emplace_back([&, guest] {
      const std::string name = "guest" + std::to_string(guest);
      const tmem_options options = Options{.queues = 2}.ForC();
      const ClientPtr client(
          tmem_connect(socket_path_.c_str(), name.c_str(), &options, nullptr, 0));
      ASSERT_TRUE(client);
      const int pool = NewPool(client, TMEM_POOL_PERSIST);
      Pages back(TMEM_PAGE_SIZE);
      for (uint32_t i = 0; i < 500; ++i) {
        const tmem_oid oid = Oid(i % 3);
        const Pages page = MakePages(static_cast<uint64_t>(guest) * 1000 + i);
        ASSERT_EQ(tmem_put(client.get(), pool, &oid, i, page.data()), 1);
        ASSERT_EQ(tmem_get(client.get(), pool, &oid, i, back.data()), 1);
        ASSERT_EQ(back, page);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace tmem::client
