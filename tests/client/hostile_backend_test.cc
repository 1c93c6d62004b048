// The client against a daemon that answers wrongly, or not at all: the program gets -ENOTCONN, and
// nothing worse.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "client/client.h"
#include "client/client_fixture.h"

namespace tmem::client {
namespace {

class HostileBackendTest : public ClientFixture {
 protected:
  using Spoil = std::function<void(tmemif_response&)>;

  // A backend that spoils its answers to gets.
  static Script Spoiling(Spoil spoil) {
    Script script;
    script.answer = [spoil = std::move(spoil)](const tmemif_request& request,
                                               tmemif_response& response) {
      if (request.op == TMEMIF_OP_GET_PAGE) spoil(response);
      return true;
    };
    return script;
  }

  // Gets a batch of three; whatever was outstanding and all that follows must fail.
  void ExpectDead(const ClientPtr& client, int pool) {
    int completions = 0;
    const auto count = [](void* arg, int result, uint64_t done) {
      EXPECT_EQ(result, -ENOTCONN);
      EXPECT_EQ(done, 0u);
      ++*static_cast<int*>(arg);
    };
    const tmem_oid oid = Oid(1);
    Pages back(3 * TMEM_PAGE_SIZE, 0xee);
    const Pages untouched = back;
    const int submitted =
        tmem_submit_get(client.get(), pool, &oid, 0, 3, back.data(), count, &completions);
    uint64_t done = 1;
    EXPECT_EQ(tmem_get_batch(client.get(), pool, &oid, 0, 3, back.data(), &done), -ENOTCONN);
    EXPECT_EQ(done, 0u);
    EXPECT_EQ(back, untouched);
    while (tmem_poll(client.get(), -1) > 0) {
    }
    EXPECT_EQ(completions, submitted == 0 ? 1 : 0);

    EXPECT_EQ(tmem_put(client.get(), pool, &oid, 0, back.data()), -ENOTCONN);
    EXPECT_EQ(tmem_put_posted(client.get(), pool, &oid, 0, back.data()), -ENOTCONN);
    EXPECT_EQ(tmem_flush_object(client.get(), pool, &oid), -ENOTCONN);
    EXPECT_EQ(tmem_new_pool(client.get(), nullptr, 0), -ENOTCONN);
    EXPECT_EQ(tmem_destroy_pool(client.get(), pool), -ENOTCONN);
    EXPECT_EQ(tmem_poll(client.get(), -1), -ENOTCONN);
    EXPECT_EQ(tmem_drain(client.get()), -ENOTCONN);
    EXPECT_EQ(tmem_submit_put(client.get(), pool, &oid, 0, 1, back.data(), count, nullptr),
              -ENOTCONN);
  }

  void ExpectDeadlyAnswer(const std::string& name, Spoil spoil) {
    SCOPED_TRACE(name);
    StartBackend(Spoiling(std::move(spoil)));
    const ClientPtr client = Connect({.queues = 2});
    ExpectDead(client, NewPool(client, TMEM_POOL_PERSIST));
  }
};

TEST_F(HostileBackendTest, SeesThroughWrongAnswers) {
  ExpectDeadlyAnswer("wrong id", [](tmemif_response& r) { r.id ^= 1; });
  ExpectDeadlyAnswer("reserved bits", [](tmemif_response& r) { r.reserved = 1; });
  ExpectDeadlyAnswer("more pages than asked for", [](tmemif_response& r) {
    r.status = 4;
    r.done = 0b1111;
  });
  ExpectDeadlyAnswer("a page that was not asked for", [](tmemif_response& r) {
    r.status = 1;
    r.done = 0b1000;
  });
  ExpectDeadlyAnswer("a count that is not the mask's", [](tmemif_response& r) {
    r.status = 1;
    r.done = 0b11;
  });
  ExpectDeadlyAnswer("no errno", [](tmemif_response& r) { r.status = -5000; });
  ExpectDeadlyAnswer("INT32_MIN", [](tmemif_response& r) { r.status = INT32_MIN; });
}

TEST_F(HostileBackendTest, SeesThroughAnswersToNothing) {
  for (const uint32_t claim : {1u, 33u, 0x80000000u}) {
    Script script;
    script.answer = [](const tmemif_request& request, tmemif_response&) {
      return request.op == TMEMIF_OP_NEW_POOL;
    };
    script.spoil_ring = [claim](tmemif_ring& ring) {
      std::atomic_ref(ring.rsp_prod).store(std::atomic_ref(ring.req_prod).load() + claim);
    };
    StartBackend(std::move(script));
    const ClientPtr client = Connect();
    // The answer to this may be seen before the ring is spoiled, or not.
    tmem_new_pool(client.get(), nullptr, TMEM_POOL_PERSIST);
    ExpectDead(client, 0);
  }
}

TEST_F(HostileBackendTest, IsNotMisledByWhatIsWrittenOverItsRequests) {
  Script script;
  script.spoil_ring = [](tmemif_ring& ring) {
    std::atomic_ref(ring.req_prod).store(0xdeadbeef);
    std::atomic_ref(ring.rsp_event).store(0xdeadbeef);
  };
  StartBackend(std::move(script));
  const ClientPtr client = Connect({.spin_us = UINT32_MAX});
  EXPECT_EQ(tmem_new_pool(client.get(), nullptr, TMEM_POOL_PERSIST), 0);
  // The backend destroyed its own view of the ring; whatever comes of that, waiting is bounded.
  EXPECT_EQ(tmem_poll(client.get(), 10), 0);
}

TEST_F(HostileBackendTest, DiesWithTheDeviceThatIsClosedForAReason) {
  StartBackend();
  const ClientPtr client = Connect();
  const int pool = NewPool(client, TMEM_POOL_PERSIST);
  backend_->Commit(Fault::kCloseWithError);
  ExpectDead(client, pool);
}

TEST_F(HostileBackendTest, DiesWithTheDeviceThatIsTakenAway) {
  StartBackend();
  const ClientPtr client = Connect();
  const int pool = NewPool(client, TMEM_POOL_PERSIST);
  backend_->Commit(Fault::kTakeAway);
  ExpectDead(client, pool);
}

TEST_F(HostileBackendTest, PollingASilentBackendIsBounded) {
  Script script;
  script.answer = [](const tmemif_request&, tmemif_response&) { return false; };
  StartBackend(std::move(script));
  Client::Config config{.socket_path = socket_path_,
                        .guest_name = "guest",
                        .wanted = {.queues = 2, .ring_page_order = 0, .slots = 8},
                        .spin = {},
                        .connect_time = std::chrono::seconds(5),
                        .drain_time = std::chrono::milliseconds(10)};
  auto client = Client::Connect(config);
  ASSERT_TRUE(client) << client.error().message;
  int result = 0;
  const Pages page = MakePages(1);
  auto operation = std::make_unique<Operation>();
  operation->code = TMEMIF_OP_PUT_PAGE;
  operation->source = reinterpret_cast<const std::byte*>(page.data());
  operation->on_finished = [](void* arg, int status, uint64_t) {
    *static_cast<int*>(arg) = status;
  };
  operation->arg = &result;
  ASSERT_EQ((*client)->Submit(std::move(operation)), 0);
  EXPECT_EQ((*client)->Poll(0), 0);
  EXPECT_EQ((*client)->Poll(10), 0);
  EXPECT_EQ(result, 0);
  client->reset();  // gives up waiting, and tells so
  EXPECT_EQ(result, -ENOTCONN);
}

}  // namespace
}  // namespace tmem::client
