// The client's handshake against a backend that does it right, dies at every step, falls silent at
// every step, or says strange things.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <string>
#include <thread>
#include <utility>

#include "client/client_fixture.h"

namespace tmem::client {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class HandshakeTest : public ClientFixture {
 protected:
  static constexpr FakeBackend::Step kSteps[] = {Step::kIntroduced, Step::kNodes, Step::kOffered,
                                                 Step::kMapped, Step::kConnected};

  // A script that does `fault` at `step`, so many times.
  static Script FaultAt(Step step, Fault fault, int times = 1) {
    Script script;
    script.fault = [=](Step at) mutable {
      if (at != step || times == 0) return Fault::kNone;
      --times;
      return fault;
    };
    return script;
  }

  // Connecting fails, and says so with these words. What is said depends on how far it got in its
  // time: where it has to wait in vain, a busy machine is given more of it.
  void ExpectRefusal(const std::string& words, uint32_t connect_ms = 20'000,
                     const char* name = "guest") {
    do {
      EXPECT_FALSE(TryConnect({.connect_ms = connect_ms}, name));
      EXPECT_THAT(error_.data(), Not(HasSubstr("\n")));
      connect_ms *= 4;
    } while (std::string(error_.data()).find(words) == std::string::npos && connect_ms < 60'000);
    EXPECT_THAT(error_.data(), HasSubstr(words));
  }

  static void ExpectWorks(const ClientPtr& client) {
    ASSERT_TRUE(client);
    const int pool = NewPool(client, TMEM_POOL_PERSIST);
    const tmem_oid oid = Oid(7);
    const Pages page = MakePages(1);
    Pages back(TMEM_PAGE_SIZE);
    EXPECT_EQ(tmem_put(client.get(), pool, &oid, 3, page.data()), 1);
    EXPECT_EQ(tmem_get(client.get(), pool, &oid, 3, back.data()), 1);
    EXPECT_EQ(page, back);
  }
};

TEST_F(HandshakeTest, Connects) {
  StartBackend();
  const ClientPtr client = Connect();
  ExpectWorks(client);
  EXPECT_GT(tmem_guest_id(client.get()), 0);
  EXPECT_EQ(backend_->queues(), 1u);
}

TEST_F(HandshakeTest, TakesWhatTheBackendAllows) {
  Script script;
  script.limits = {.max_queues = 3, .max_ring_page_order = 1, .max_slots = 5};
  script.keys["max-batch"] = "2";
  StartBackend(std::move(script));
  const ClientPtr client = Connect({.queues = 16, .ring_page_order = 4, .slots = 1024});
  ExpectWorks(client);
  EXPECT_EQ(backend_->queues(), 3u);
}

TEST_F(HandshakeTest, OffersTheLargestConnection) {
  Script script;
  script.limits = {.max_queues = 16, .max_ring_page_order = 4, .max_slots = 1024};
  StartBackend(std::move(script));
  const ClientPtr client = Connect({.queues = 16, .ring_page_order = 4, .slots = 1024});
  ExpectWorks(client);
  EXPECT_EQ(backend_->queues(), 16u);
}

TEST_F(HandshakeTest, WorksWithTheSmallestConnection) {
  Script script;
  script.limits = {.max_queues = 1, .max_ring_page_order = 0, .max_slots = 1};
  script.keys["max-batch"] = "1";
  StartBackend(std::move(script));
  ExpectWorks(Connect());
}

TEST_F(HandshakeTest, SurvivesABackendThatDiesAtAnyStep) {
  for (const Step step : kSteps) {
    SCOPED_TRACE(static_cast<int>(step));
    StartBackend(FaultAt(step, Fault::kDie));
    std::thread successor([&] {
      backend_->AwaitDeath();
      StartBackend();
    });
    ClientPtr client = Connect({.connect_ms = 60'000});
    successor.join();
    ASSERT_TRUE(client);
    if (step == Step::kConnected && tmem_new_pool(client.get(), nullptr, 0) == -ENOTCONN) {
      // It heard of it before the backend died, and the successor does not know it.
      client.reset();
      client = Connect({.connect_ms = 60'000});
    }
    ExpectWorks(client);
  }
}

TEST_F(HandshakeTest, WaitsABoundedTimeForASilentBackend) {
  for (const Step step : kSteps) {
    if (step == Step::kConnected) continue;  // then it is connected
    SCOPED_TRACE(static_cast<int>(step));
    StartBackend(FaultAt(step, Fault::kStaySilent));
    EXPECT_FALSE(TryConnect({.connect_ms = 50}));
    EXPECT_NE(error_[0], '\0');
  }
}

TEST_F(HandshakeTest, BeginsAgainWhenTheBackendClosesWithoutAReason) {
  for (const Step step : {Step::kNodes, Step::kOffered, Step::kMapped}) {
    SCOPED_TRACE(static_cast<int>(step));
    StartBackend(FaultAt(step, Fault::kClose));
    ExpectWorks(Connect({.connect_ms = 60'000}));
  }
}

TEST_F(HandshakeTest, GivesUpOnABackendThatClosesForEver) {
  StartBackend(FaultAt(Step::kOffered, Fault::kClose, -1));
  EXPECT_FALSE(TryConnect({.connect_ms = 100}));
}

TEST_F(HandshakeTest, TellsTheReasonWhyTheBackendCloses) {
  for (const Step step : {Step::kNodes, Step::kOffered, Step::kMapped}) {
    StartBackend(FaultAt(step, Fault::kCloseWithError));
    ExpectRefusal("because");
  }
}

TEST_F(HandshakeTest, TellsThatTheDeviceWasTakenAway) {
  StartBackend(FaultAt(Step::kOffered, Fault::kTakeAway));
  ExpectRefusal("took this guest's device away");
}

TEST_F(HandshakeTest, TellsThatTheGuestIsNotAllowed) {
  Script script;
  script.admit = false;
  StartBackend(std::move(script));
  ExpectRefusal("configuration", 50);
}

TEST_F(HandshakeTest, TellsThatNobodyListens) {
  ExpectRefusal("is tmemd running", 50);
  StartBackend();
  backend_.reset();
  ExpectRefusal(socket_path_, 50);
}

TEST_F(HandshakeTest, WaitsForADaemonThatIsJustStarting) {
  std::thread daemon;
  std::atomic<bool> started{false};
  daemon = std::thread([&] {
    StartBackend();
    started = true;
  });
  const ClientPtr client = Connect({.connect_ms = 60'000});
  daemon.join();
  ExpectWorks(client);
}

TEST_F(HandshakeTest, RefusesLimitsThatAreNone) {
  for (const char* key : {"max-queues", "max-ring-page-order", "max-slots", "max-batch"}) {
    for (const char* value : {"", "-1", "x", "1 ", "99999", "4294967297"}) {
      SCOPED_TRACE(std::string(key) + "=" + value);
      Script script;
      script.keys[key] = value;
      StartBackend(std::move(script));
      ExpectRefusal(key);
    }
    Script script;
    script.missing_keys = {key};
    StartBackend(std::move(script));
    ExpectRefusal(key);
  }
}

TEST_F(HandshakeTest, RefusesAnotherVersion) {
  Script script;
  script.keys["versions"] = "2 11 21";
  StartBackend(std::move(script));
  ExpectRefusal("version");
}

TEST_F(HandshakeTest, FindsItsVersionAmongOthersAndIgnoresUnknownKeys) {
  Script script;
  script.keys["versions"] = "3 2 1";
  script.keys["feature-teleport"] = "1";
  StartBackend(std::move(script));
  ExpectWorks(Connect());
}

TEST_F(HandshakeTest, WorksWithoutPostedPuts) {
  Script script;
  script.missing_keys = {"feature-posted-put"};
  script.answer = [](const tmemif_request& request, tmemif_response&) {
    EXPECT_EQ(request.flags & TMEMIF_REQ_POSTED, 0);
    return true;
  };
  StartBackend(std::move(script));
  const ClientPtr client = Connect();
  const int pool = NewPool(client, 0);
  const tmem_oid oid = Oid(1);
  const Pages page = MakePages(5);
  Pages back(TMEM_PAGE_SIZE);
  EXPECT_EQ(tmem_put_posted(client.get(), pool, &oid, 0, page.data()), 0);
  EXPECT_EQ(tmem_get(client.get(), pool, &oid, 0, back.data()), 1);
  EXPECT_EQ(page, back);
}

TEST_F(HandshakeTest, RefusesASecondClientOfTheSameName) {
  StartBackend();
  const ClientPtr first = Connect();
  ExpectRefusal("'guest' is connected already");
  ExpectWorks(first);
}

TEST_F(HandshakeTest, TheNameIsFreeAgainAtOnce) {
  StartBackend();
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Connect());
}

TEST_F(HandshakeTest, RefusesWrongArguments) {
  StartBackend();
  ExpectRefusal("name", 20'000, "");
  ExpectRefusal("name", 20'000, "a b");
  ExpectRefusal("name", 20'000, nullptr);
  EXPECT_FALSE(TryConnect({.queues = 17}));
  EXPECT_FALSE(TryConnect({.ring_page_order = 5}));
  EXPECT_FALSE(TryConnect({.slots = 1025}));
  tmem_options reserved{};
  reserved.reserved[3] = 1;
  EXPECT_FALSE(TryConnectAs(reserved, "guest"));
  // Without room for a message it fails just so.
  EXPECT_EQ(tmem_connect(socket_path_.c_str(), "", nullptr, nullptr, 0), nullptr);
  char little[4];
  EXPECT_EQ(tmem_connect(socket_path_.c_str(), "", nullptr, little, sizeof(little)), nullptr);
  EXPECT_EQ(std::string(little), "a g");
}

TEST_F(HandshakeTest, FindsTheSocketInTheEnvironment) {
  StartBackend();
  ::setenv("TMEM_SOCKET", socket_path_.c_str(), 1);
  const ClientPtr client(tmem_connect(nullptr, "guest", nullptr, error_.data(), error_.size()));
  ::unsetenv("TMEM_SOCKET");
  ExpectWorks(client);
}

}  // namespace
}  // namespace tmem::client
