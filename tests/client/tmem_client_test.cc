// The C face, against a backend that follows the protocol.
#include "client/tmem_client.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "client/client_fixture.h"

namespace tmem::client {
namespace {

class TmemClientTest : public ClientFixture {
 protected:
  // What the backend answers to each request of that operation.
  static Script Answering(uint8_t op, int32_t status, uint64_t done) {
    Script script;
    script.answer = [=](const tmemif_request& request, tmemif_response& response) {
      if (request.op == op) {
        response.status = status;
        response.done = done;
      }
      return true;
    };
    return script;
  }
};

TEST_F(TmemClientTest, PutsGetsAndFlushes) {
  StartBackend();
  const ClientPtr client = Connect();
  const int pool = NewPool(client, TMEM_POOL_PERSIST);
  const tmem_oid oid = Oid(1);
  Pages page = MakePages(1);
  const Pages original = page;
  EXPECT_EQ(tmem_put(client.get(), pool, &oid, 0, page.data()), 1);
  std::ranges::fill(page, 0);  // it was copied
  EXPECT_EQ(tmem_get(client.get(), pool, &oid, 0, page.data()), 1);
  EXPECT_EQ(page, original);
  EXPECT_EQ(tmem_flush_page(client.get(), pool, &oid, 0), 1);
  EXPECT_EQ(tmem_flush_page(client.get(), pool, &oid, 0), 1);
  EXPECT_EQ(tmem_get(client.get(), pool, &oid, 0, page.data()), 0);

  EXPECT_EQ(tmem_put(client.get(), pool, &oid, UINT32_MAX, original.data()), 1);
  EXPECT_EQ(tmem_flush_object(client.get(), pool, &oid), 1);
  EXPECT_EQ(tmem_get(client.get(), pool, &oid, UINT32_MAX, page.data()), 0);
  EXPECT_EQ(tmem_destroy_pool(client.get(), pool), 1);
  EXPECT_EQ(tmem_destroy_pool(client.get(), pool), -ENODEV);
  EXPECT_EQ(tmem_put(client.get(), pool, &oid, 0, original.data()), -ENODEV);
  EXPECT_EQ(tmem_put(client.get(), -1, &oid, 0, original.data()), -ENODEV);
}

TEST_F(TmemClientTest, WritesOnlyPagesThatWereFound) {
  StartBackend();
  const ClientPtr client = Connect();
  const int pool = NewPool(client, TMEM_POOL_PERSIST);
  const tmem_oid oid = Oid(1);
  const Pages pages = MakePages(1, 4);
  for (const uint32_t index : {0u, 2u}) {
    ASSERT_EQ(tmem_put(client.get(), pool, &oid, index, pages.data() + index * TMEM_PAGE_SIZE), 1);
  }
  Pages expected = Pages(4 * TMEM_PAGE_SIZE, 0xee);
  for (const uint32_t index : {0u, 2u}) {
    std::copy_n(pages.begin() + index * TMEM_PAGE_SIZE, TMEM_PAGE_SIZE,
                expected.begin() + index * TMEM_PAGE_SIZE);
  }
  Pages back(4 * TMEM_PAGE_SIZE, 0xee);
  uint64_t done = 0;
  EXPECT_EQ(tmem_get_batch(client.get(), pool, &oid, 0, 4, back.data(), &done), 2);
  EXPECT_EQ(done, 0b101u);
  EXPECT_EQ(back, expected);
}

TEST_F(TmemClientTest, SplitsBatchesThatDoNotFitARequest) {
  for (const char* max_batch : {"64", "5", "1"}) {
    for (const uint32_t slots : {1u, 3u, 64u}) {
      SCOPED_TRACE(std::string(max_batch) + " a batch, slots: " + std::to_string(slots));
      Script script;
      script.keys["max-batch"] = max_batch;
      StartBackend(std::move(script));
      const ClientPtr client = Connect({.ring_page_order = 1, .slots = slots});
      const int pool = NewPool(client, TMEM_POOL_PERSIST);
      const tmem_oid oid = Oid(1);
      const Pages pages = MakePages(9, 64);
      Pages back(pages.size());
      uint64_t done = 0;
      EXPECT_EQ(tmem_put_batch(client.get(), pool, &oid, 100, 64, pages.data(), &done), 64);
      EXPECT_EQ(done, ~uint64_t{0});
      EXPECT_EQ(tmem_get_batch(client.get(), pool, &oid, 100, 64, back.data(), &done), 64);
      EXPECT_EQ(done, ~uint64_t{0});
      EXPECT_EQ(pages, back);
      EXPECT_EQ(tmem_flush_batch(client.get(), pool, &oid, 100, 63, &done), 63);
      EXPECT_EQ(done, ~uint64_t{0} >> 1);
      EXPECT_EQ(tmem_get_batch(client.get(), pool, &oid, 100, 64, back.data(), &done), 1);
      EXPECT_EQ(done, uint64_t{1} << 63);
    }
  }
}

TEST_F(TmemClientTest, RefusesWrongBatchesItself) {
  StartBackend();
  const ClientPtr client = Connect();
  const int pool = NewPool(client, 0);
  const tmem_oid oid = Oid(1);
  Pages pages(65 * TMEM_PAGE_SIZE);
  const auto never = [](void*, int, uint64_t) { ADD_FAILURE(); };
  for (const auto& [index, count] : std::vector<std::pair<uint32_t, uint32_t>>{
           {0, 0}, {0, 65}, {UINT32_MAX, 2}, {UINT32_MAX - 62, 64}, {0, UINT32_MAX}}) {
    EXPECT_EQ(tmem_put_batch(client.get(), pool, &oid, index, count, pages.data(), nullptr),
              -EINVAL);
    EXPECT_EQ(tmem_get_batch(client.get(), pool, &oid, index, count, pages.data(), nullptr),
              -EINVAL);
    EXPECT_EQ(tmem_flush_batch(client.get(), pool, &oid, index, count, nullptr), -EINVAL);
    EXPECT_EQ(tmem_submit_put(client.get(), pool, &oid, index, count, pages.data(), never, nullptr),
              -EINVAL);
    EXPECT_EQ(tmem_submit_get(client.get(), pool, &oid, index, count, pages.data(), never, nullptr),
              -EINVAL);
  }
  EXPECT_EQ(tmem_submit_put(client.get(), pool, &oid, 0, 1, pages.data(), nullptr, nullptr),
            -EINVAL);
  EXPECT_EQ(Stats(client).requests, 1u);  // NEW_POOL
}

TEST_F(TmemClientTest, PassesResultsOnUnchanged) {
  Pages page = MakePages(1);
  const tmem_oid oid = Oid(1);
  for (const int error : {TMEM_EFROZEN, TMEM_EEMPTY, ENOMEM, ENODEV, EIO, ENOSYS}) {
    StartBackend(Answering(TMEMIF_OP_PUT_PAGE, -error, 0));
    ClientPtr client = Connect();
    EXPECT_EQ(tmem_put(client.get(), 0, &oid, 0, page.data()), -error);

    client.reset();
    StartBackend(Answering(TMEMIF_OP_GET_PAGE, -error, 0));
    client = Connect();
    EXPECT_EQ(tmem_get(client.get(), 0, &oid, 0, page.data()), -error);

    client.reset();
    StartBackend(Answering(TMEMIF_OP_FLUSH_OBJECT, -error, 0));
    client = Connect();
    EXPECT_EQ(tmem_flush_object(client.get(), 0, &oid), -error);
    client.reset();

    StartBackend(Answering(TMEMIF_OP_NEW_POOL, -error, 0));
    client = Connect();
    EXPECT_EQ(tmem_new_pool(client.get(), nullptr, 0), -error);
  }
  StartBackend(Answering(TMEMIF_OP_FLUSH_PAGE, -TMEM_EFROZEN, 1));
  EXPECT_EQ(tmem_flush_page(Connect().get(), 0, &oid, 0), -TMEM_EFROZEN);
}

TEST_F(TmemClientTest, AsksForPoolsAsTheOldHypercallDid) {
  std::vector<tmemif_request> requests;
  Script script;
  script.answer = [&](const tmemif_request& request, tmemif_response&) {
    requests.push_back(request);
    return true;
  };
  StartBackend(std::move(script));
  ClientPtr client = Connect();
  const tmem_uuid uuid = {{1, 2}};
  EXPECT_EQ(tmem_new_pool(client.get(), &uuid, TMEM_POOL_PERSIST), 0);
  EXPECT_EQ(tmem_new_pool(client.get(), &uuid, TMEM_POOL_SHARED), 1);
  EXPECT_EQ(tmem_new_pool(client.get(), nullptr, 4), -EPERM);
  EXPECT_EQ(tmem_new_pool(client.get(), nullptr, 1u << 24), -EPERM);
  client.reset();
  backend_.reset();
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].u.new_pool.flags, TMEMIF_POOL_PERSIST | 1u << TMEMIF_POOL_VERSION_SHIFT);
  EXPECT_EQ(requests[0].u.new_pool.uuid[0], 0u);  // private pools have none
  EXPECT_EQ(requests[1].u.new_pool.flags, TMEMIF_POOL_SHARED | 1u << TMEMIF_POOL_VERSION_SHIFT);
  EXPECT_EQ(requests[1].u.new_pool.uuid[0], 1u);
  EXPECT_EQ(requests[1].u.new_pool.uuid[1], 2u);
}

// ---- posted ----

TEST_F(TmemClientTest, PostedPutsAreSeenByWhatFollows) {
  StartBackend();
  const ClientPtr client = Connect({.queues = 3, .ring_page_order = 1, .slots = 4});
  const int pool = NewPool(client, 0);
  Pages back(TMEM_PAGE_SIZE);
  for (uint32_t i = 0; i < 500; ++i) {
    const tmem_oid oid = Oid(i % 7);
    const Pages page = MakePages(i);
    ASSERT_EQ(tmem_put_posted(client.get(), pool, &oid, i % 3, page.data()), 0);
    if (i % 2 == 0) {
      ASSERT_EQ(tmem_get(client.get(), pool, &oid, i % 3, back.data()), 1);
      ASSERT_EQ(back, page);
    } else {
      ASSERT_EQ(tmem_flush_page(client.get(), pool, &oid, i % 3), 1);
      ASSERT_EQ(tmem_get(client.get(), pool, &oid, i % 3, back.data()), 0);
    }
  }
  EXPECT_EQ(tmem_drain(client.get()), 0);
  EXPECT_EQ(Stats(client).puts_stored, 500u);
}

TEST_F(TmemClientTest, PostingToAPersistentPoolStoresNothing) {
  StartBackend();
  const ClientPtr client = Connect();
  const int ephemeral = NewPool(client, 0);
  const int persistent = NewPool(client, TMEM_POOL_PERSIST);
  const tmem_oid oid = Oid(1);
  Pages page = MakePages(1);
  EXPECT_EQ(tmem_put_posted(client.get(), persistent, &oid, 0, page.data()), 0);
  EXPECT_EQ(tmem_put_posted(client.get(), ephemeral, &oid, 0, page.data()), 0);
  EXPECT_EQ(tmem_get(client.get(), persistent, &oid, 0, page.data()), 0);
  EXPECT_EQ(tmem_get(client.get(), ephemeral, &oid, 0, page.data()), 1);
  const tmem_stats stats = Stats(client);
  EXPECT_EQ(stats.puts, 2u);
  EXPECT_EQ(stats.puts_stored, 1u);
  EXPECT_EQ(stats.puts_refused, 1u);
}

// ---- asynchronous ----

struct Recorder {
  static void Note(void* self, int result, uint64_t done) {
    static_cast<Recorder*>(self)->results.emplace_back(result, done);
  }
  std::vector<std::pair<int, uint64_t>> results;
};

TEST_F(TmemClientTest, CompletesWhatWasSubmittedOnce) {
  StartBackend();
  const ClientPtr client = Connect({.queues = 2, .ring_page_order = 1, .slots = 8});
  const int pool = NewPool(client, TMEM_POOL_PERSIST);
  const Pages pages = MakePages(3, 20);
  Pages back(pages.size());
  Recorder puts;
  Recorder gets;
  for (uint64_t object = 0; object < 200; ++object) {
    const tmem_oid oid = Oid(object);
    ASSERT_EQ(tmem_submit_put(client.get(), pool, &oid, 0, 20, pages.data(), Recorder::Note, &puts),
              0);
  }
  const tmem_oid oid = Oid(150);
  ASSERT_EQ(tmem_submit_get(client.get(), pool, &oid, 0, 20, back.data(), Recorder::Note, &gets),
            0);
  EXPECT_EQ(tmem_drain(client.get()), 0);
  ASSERT_EQ(puts.results.size(), 200u);
  for (const auto& [result, done] : puts.results) {
    EXPECT_EQ(result, 20);
    EXPECT_EQ(done, 0xfffffu);
  }
  ASSERT_EQ(gets.results.size(), 1u);
  EXPECT_EQ(gets.results[0], std::pair(20, uint64_t{0xfffff}));
  EXPECT_EQ(back, pages);
}

TEST_F(TmemClientTest, PollsAsLongAsItIsTold) {
  std::atomic<bool> answers{false};
  Script script;
  script.answer = [&](const tmemif_request& request, tmemif_response&) {
    if (request.op == TMEMIF_OP_PUT_PAGE) answers.wait(false);
    return true;
  };
  StartBackend(std::move(script));
  const ClientPtr client = Connect();
  EXPECT_EQ(tmem_poll(client.get(), -1), 0);  // nothing is outstanding
  const int pool = NewPool(client, TMEM_POOL_PERSIST);
  const tmem_oid oid = Oid(1);
  const Pages page = MakePages(1);
  Recorder puts;
  ASSERT_EQ(tmem_submit_put(client.get(), pool, &oid, 0, 1, page.data(), Recorder::Note, &puts), 0);
  EXPECT_EQ(tmem_poll(client.get(), 0), 0);
  EXPECT_EQ(tmem_poll(client.get(), 10), 0);
  EXPECT_TRUE(puts.results.empty());
  answers = true;
  answers.notify_all();
  EXPECT_EQ(tmem_poll(client.get(), -1), 1);
  EXPECT_EQ(puts.results.size(), 1u);
  EXPECT_EQ(tmem_poll(client.get(), -1), 0);
}

// A chain of operations, each submitted by the completion of the one before, on fewer slots than
// it would like to have.
struct Chain {
  static void Next(void* self, int result, uint64_t) {
    auto& chain = *static_cast<Chain*>(self);
    EXPECT_EQ(result, 8);
    EXPECT_EQ(tmem_poll(chain.client, 0), -EDEADLK);
    EXPECT_EQ(tmem_drain(chain.client), -EDEADLK);
    if (chain.left-- == 0) return;
    const tmem_oid oid = Oid(static_cast<uint64_t>(chain.left));
    EXPECT_EQ(tmem_submit_put(chain.client, chain.pool, &oid, 0, 8, chain.pages.data(), Next, self),
              0);
  }
  tmem_client* client;
  int pool;
  Pages pages = MakePages(1, 8);
  int left = 300;
};

TEST_F(TmemClientTest, CompletionsMaySubmit) {
  StartBackend();
  const ClientPtr client = Connect({.queues = 2, .ring_page_order = 1, .slots = 8});
  const int pool = NewPool(client, TMEM_POOL_PERSIST);
  std::vector<Chain> chains(5, Chain{.client = client.get(), .pool = pool});
  for (Chain& chain : chains) {
    const tmem_oid oid = Oid(1);
    ASSERT_EQ(
        tmem_submit_put(client.get(), pool, &oid, 0, 8, chain.pages.data(), Chain::Next, &chain),
        0);
  }
  EXPECT_EQ(tmem_drain(client.get()), 0);
  for (const Chain& chain : chains) EXPECT_EQ(chain.left, -1);
}

TEST_F(TmemClientTest, DestroyingAPoolWaitsForWhatIsOutstanding) {
  StartBackend();
  const ClientPtr client = Connect({.queues = 4});
  const int pool = NewPool(client, TMEM_POOL_PERSIST);
  const Pages page = MakePages(1);
  Recorder puts;
  for (uint64_t object = 0; object < 100; ++object) {
    const tmem_oid oid = Oid(object);
    ASSERT_EQ(tmem_submit_put(client.get(), pool, &oid, 0, 1, page.data(), Recorder::Note, &puts),
              0);
  }
  EXPECT_EQ(tmem_destroy_pool(client.get(), pool), 1);
  EXPECT_EQ(puts.results.size(), 100u);
  const auto log = backend_->TakeLog();
  EXPECT_EQ(log.back().second.op, TMEMIF_OP_DESTROY_POOL);
}

// ---- order and figures ----

TEST_F(TmemClientTest, KeepsAnObjectOnOneQueueAndUsesAll) {
  StartBackend();
  const ClientPtr client = Connect({.queues = 4});
  const int pool = NewPool(client, 0);
  backend_->TakeLog();
  const Pages page = MakePages(1);
  for (int round = 0; round < 3; ++round) {
    for (uint64_t object = 0; object < 64; ++object) {
      const tmem_oid oid = Oid(object);
      ASSERT_EQ(tmem_put_posted(client.get(), pool, &oid, 0, page.data()), 0);
      ASSERT_EQ(tmem_flush_object(client.get(), pool, &oid), 1);
    }
  }
  std::map<uint64_t, uint32_t> queue_of;
  std::array<int, 4> used{};
  for (const auto& [queue, request] : backend_->TakeLog()) {
    const auto [at, fresh] = queue_of.try_emplace(request.u.page.oid.word[0], queue);
    EXPECT_EQ(at->second, queue);
    ++used[queue];
  }
  EXPECT_EQ(queue_of.size(), 64u);
  for (const int count : used) EXPECT_GT(count, 0);
}

TEST_F(TmemClientTest, CountsWhatItDid) {
  Script script;
  script.answer = [](const tmemif_request& request, tmemif_response& response) {
    if (request.op == TMEMIF_OP_PUT_PAGE && request.u.page.index == 99) {
      response.status = -ENOMEM;
      response.done = 0;
    }
    return true;
  };
  StartBackend(std::move(script));
  const ClientPtr client = Connect();
  const int pool = NewPool(client, TMEM_POOL_PERSIST);
  const tmem_oid oid = Oid(1);
  Pages pages = MakePages(1, 10);
  tmem_put_batch(client.get(), pool, &oid, 0, 10, pages.data(), nullptr);
  tmem_put(client.get(), pool, &oid, 99, pages.data());
  tmem_get_batch(client.get(), pool, &oid, 5, 10, pages.data(), nullptr);
  tmem_flush_batch(client.get(), pool, &oid, 0, 3, nullptr);
  tmem_flush_object(client.get(), pool, &oid);
  const tmem_stats stats = Stats(client);
  EXPECT_EQ(stats.puts, 11u);
  EXPECT_EQ(stats.puts_stored, 10u);
  EXPECT_EQ(stats.puts_refused, 1u);
  EXPECT_EQ(stats.gets, 10u);
  EXPECT_EQ(stats.gets_found, 5u);
  EXPECT_EQ(stats.flushes, 3u);
  EXPECT_EQ(stats.object_flushes, 1u);
  EXPECT_EQ(stats.requests, 7u);  // two for the put of 10 pages
  EXPECT_EQ(stats.reconnects, 0u);
}

// Every way of waiting sees the same results.
TEST_F(TmemClientTest, SpinningAndSleepingAgree) {
  for (const uint32_t spin_us : {1u, 50u, UINT32_MAX}) {
    StartBackend();
    const ClientPtr client = Connect({.queues = 2, .spin_us = spin_us});
    const int pool = NewPool(client, TMEM_POOL_PERSIST);
    Pages back(TMEM_PAGE_SIZE);
    for (uint32_t i = 0; i < 300; ++i) {
      const tmem_oid oid = Oid(i % 5);
      const Pages page = MakePages(i);
      ASSERT_EQ(tmem_put(client.get(), pool, &oid, i, page.data()), 1);
      ASSERT_EQ(tmem_get(client.get(), pool, &oid, i, back.data()), 1);
      ASSERT_EQ(back, page);
    }
  }
}

}  // namespace
}  // namespace tmem::client
