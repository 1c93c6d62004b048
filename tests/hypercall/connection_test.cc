#include "hypercall/connection.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/rate_limiter.h"
#include "daemon/manual_clock.h"
#include "hypercall/fake_hypervisor.h"
#include "hypercall/log_capture.h"
#include "hypercall/test_frontend.h"
#include "hypercall/test_host.h"
#include "hypercall/xenbus.h"
#include "pools/store.h"

namespace tmem {
namespace {

using namespace std::chrono_literals;
using State = Connection::State;

class ConnectionTest : public testing::Test {
 protected:
  ConnectionTest() { Begin(); }

  // A daemon begins to look after the guest, the first one or a later one.
  void Begin() {
    connection_.reset();
    auto connection = Connection::Create(Context(), guest_->info(), store_guest_);
    ASSERT_TRUE(connection) << connection.error().message;
    connection_ = std::move(*connection);
  }
  Connection::Context Context() {
    return {.hypervisor = hypervisor_,
            .store = *store_,
            .host = host_,
            .clock = clock_,
            .limits = {},
            .violation_log = violation_log_,
            .on_report = [this] { ++reports_; }};
  }
  // The frontend changes its state and the connection follows.
  bool Follow(XenbusState state) {
    frontend_.SetState(state);
    return connection_->FollowFrontend();
  }
  void Connect() {
    frontend_.WriteKeys();
    EXPECT_FALSE(Follow(XenbusState::kInitialised));
    ASSERT_EQ(connection_->state(), State::kConnected) << connection_->reason();
  }
  void Send(const tmemif_request& request, size_t queue = 0) {
    frontend_.queue(queue).Produce(request);
    frontend_.queue(queue).Publish();
  }
  // What no correct frontend sends, served by a worker.
  void BreakProtocol(size_t queue = 0) {
    tmemif_request request{};
    request.flags = UINT8_MAX;
    Send(request, queue);
    host_.Serve();
  }
  // Brings both sides into the given states.
  void Reach(State state);
  void Restart() {
    frontend_.MakeQueues();
    EXPECT_FALSE(Follow(XenbusState::kClosed));
    EXPECT_FALSE(Follow(XenbusState::kInitialising));
  }

  LogCapture log_;
  FakeHypervisor hypervisor_;
  ManualClock clock_;
  RateLimiter violation_log_{clock_, 5, 10s};
  TestHost host_;
  std::unique_ptr<Store> store_ = std::move(Store::Create({.capacity = MiB(16)}).value());
  std::shared_ptr<FakeGuest> guest_ = hypervisor_.AddGuest(1, "guest", {});
  std::shared_ptr<Guest> store_guest_ = store_->AddGuest(GuestId{1}, {}).value();
  TestFrontend frontend_{hypervisor_, guest_, {.queues = 2}};
  int reports_ = 0;
  std::unique_ptr<Connection> connection_;
};

// ---- device nodes ----

TEST_F(ConnectionTest, TheDeviceNodesAreThoseOfTheProtocol) {
  const std::vector<std::pair<const char*, std::string>> backend = {
      {"frontend", FrontendPath(GuestId{1})},
      {"frontend-id", "1"},
      {"online", "1"},
      {"versions", "1"},
      {"max-queues", "4"},
      {"max-ring-page-order", "4"},
      {"max-slots", "512"},
      {"max-batch", "64"},
      {"feature-posted-put", "1"},
      {"store-id", store_->id().ToString()},
      {"state", "2"}};
  for (const auto& [key, value] : backend) EXPECT_EQ(frontend_.BackendKey(key), value) << key;
  const FakeDirectory& directory = hypervisor_.directory();
  const std::string front = FrontendPath(GuestId{1});
  EXPECT_EQ(directory.ValueOf(front + "/backend"), BackendPath(GuestId{1}));
  EXPECT_EQ(directory.ValueOf(front + "/backend-id"), "0");
  EXPECT_EQ(directory.ValueOf(front + "/state"), "1");
}

TEST_F(ConnectionTest, EachSideOwnsItsNodesAndTheOtherMayRead) {
  const FakeDirectory& directory = hypervisor_.directory();
  const auto ours = directory.PermissionsOf(BackendPath(GuestId{1}) + "/state");
  EXPECT_EQ(ours.owner, kBackendDomain);
  EXPECT_EQ(ours.reader, GuestId{1});
  const auto theirs = directory.PermissionsOf(FrontendPath(GuestId{1}) + "/state");
  EXPECT_EQ(theirs.owner, GuestId{1});
  EXPECT_EQ(theirs.reader, kBackendDomain);
}

TEST_F(ConnectionTest, RemoveNodesLeavesNothing) {
  connection_->RemoveNodes();
  EXPECT_FALSE(hypervisor_.directory().Exists("/local/domain/1/device/tmem"));
  EXPECT_FALSE(hypervisor_.directory().Exists("/local/domain/0/backend/tmem/1"));
}

// ---- the state table of docs/protocol.md ----

void ConnectionTest::Reach(State state) {
  switch (state) {
    case State::kWaiting:
      EXPECT_FALSE(Follow(XenbusState::kInitialising));
      frontend_.WriteKeys();
      break;
    case State::kConnected:
      Connect();
      break;
    case State::kClosing:
      EXPECT_FALSE(Follow(XenbusState::kClosing));
      frontend_.WriteKeys();
      break;
    case State::kClosed:
      EXPECT_FALSE(Follow(XenbusState::kClosed));
      frontend_.WriteKeys();
      break;
    case State::kViolated:
      Connect();
      BreakProtocol();
      connection_->HandleReport();
      break;
  }
  ASSERT_EQ(connection_->state(), state);
}

struct Row {
  State from;
  XenbusState frontend;
  State to;
};

class StateTableTest : public ConnectionTest, public testing::WithParamInterface<Row> {};

TEST_P(StateTableTest, TheBackendFollows) {
  Reach(GetParam().from);
  EXPECT_FALSE(Follow(GetParam().frontend));
  EXPECT_EQ(connection_->state(), GetParam().to);
  const bool connected = GetParam().to == State::kConnected;
  EXPECT_EQ(host_.queues(), connected ? 2u : 0u);
  EXPECT_EQ(connection_->queues(), connected ? 2u : 0u);
  EXPECT_EQ(hypervisor_.mapped(), connected ? 4 : 0);
  EXPECT_EQ(frontend_.queue().port().bound, connected);
  const XenbusState written = GetParam().to == State::kWaiting   ? XenbusState::kInitWait
                              : connected                        ? XenbusState::kConnected
                              : GetParam().to == State::kClosing ? XenbusState::kClosing
                                                                 : XenbusState::kClosed;
  EXPECT_EQ(frontend_.BackendState(), written);
  EXPECT_EQ(frontend_.BackendKey("error").empty(), GetParam().to != State::kViolated);
}

INSTANTIATE_TEST_SUITE_P(
    Waiting, StateTableTest,
    testing::Values(Row{State::kWaiting, XenbusState::kInitialising, State::kWaiting},
                    Row{State::kWaiting, XenbusState::kInitialised, State::kConnected},
                    Row{State::kWaiting, XenbusState::kConnected, State::kConnected},
                    Row{State::kWaiting, XenbusState::kClosing, State::kClosing},
                    Row{State::kWaiting, XenbusState::kClosed, State::kClosed},
                    Row{State::kWaiting, XenbusState::kUnknown, State::kClosed}));
INSTANTIATE_TEST_SUITE_P(
    Connected, StateTableTest,
    testing::Values(Row{State::kConnected, XenbusState::kInitialising, State::kWaiting},
                    Row{State::kConnected, XenbusState::kInitialised, State::kConnected},
                    Row{State::kConnected, XenbusState::kConnected, State::kConnected},
                    Row{State::kConnected, XenbusState::kClosing, State::kClosing},
                    Row{State::kConnected, XenbusState::kClosed, State::kClosed},
                    Row{State::kConnected, XenbusState::kUnknown, State::kClosed}));
INSTANTIATE_TEST_SUITE_P(
    Closing, StateTableTest,
    testing::Values(Row{State::kClosing, XenbusState::kInitialising, State::kWaiting},
                    Row{State::kClosing, XenbusState::kInitialised, State::kClosing},
                    Row{State::kClosing, XenbusState::kConnected, State::kClosing},
                    Row{State::kClosing, XenbusState::kClosing, State::kClosing},
                    Row{State::kClosing, XenbusState::kClosed, State::kClosed},
                    Row{State::kClosing, XenbusState::kUnknown, State::kClosed}));
INSTANTIATE_TEST_SUITE_P(
    Closed, StateTableTest,
    testing::Values(Row{State::kClosed, XenbusState::kInitialising, State::kWaiting},
                    Row{State::kClosed, XenbusState::kInitialised, State::kClosed},
                    Row{State::kClosed, XenbusState::kConnected, State::kClosed},
                    Row{State::kClosed, XenbusState::kClosing, State::kClosed},
                    Row{State::kClosed, XenbusState::kClosed, State::kClosed}));
INSTANTIATE_TEST_SUITE_P(
    Violated, StateTableTest,
    testing::Values(Row{State::kViolated, XenbusState::kInitialising, State::kViolated},
                    Row{State::kViolated, XenbusState::kInitialised, State::kViolated},
                    Row{State::kViolated, XenbusState::kConnected, State::kViolated},
                    Row{State::kViolated, XenbusState::kClosing, State::kViolated},
                    Row{State::kViolated, XenbusState::kClosed, State::kViolated},
                    Row{State::kViolated, XenbusState::kUnknown, State::kViolated}));

// Linux, powering off, waits until it finds the backend Closing; it was Closed by the time that the
// guest looked, and each power-off took five seconds longer.
TEST_F(ConnectionTest, ClosingLastsUntilTheFrontendIsClosed) {
  Connect();
  hypervisor_.directory().TakeHistory(BackendPath(GuestId{1}) + "/state");
  Follow(XenbusState::kClosing);
  EXPECT_EQ(hypervisor_.mapped(), 0);
  EXPECT_EQ(hypervisor_.directory().TakeHistory(BackendPath(GuestId{1}) + "/state"),
            (std::vector<std::string>{"5"}));
  Follow(XenbusState::kClosed);
  EXPECT_EQ(hypervisor_.directory().TakeHistory(BackendPath(GuestId{1}) + "/state"),
            (std::vector<std::string>{"6"}));
}

TEST_F(ConnectionTest, AFrontendThatVanishesIsClosed) {
  Connect();
  ASSERT_TRUE(hypervisor_.directory().Remove(FrontendPath(GuestId{1})));
  EXPECT_FALSE(connection_->FollowFrontend());
  EXPECT_EQ(connection_->state(), State::kClosed);
  EXPECT_EQ(hypervisor_.mapped(), 0);
}

// ---- connecting ----

TEST_F(ConnectionTest, AConnectedFrontendIsServed) {
  Connect();
  Send(NewPoolRequest(kPersistentPool), 1);
  host_.Serve();
  EXPECT_EQ(frontend_.queue(1).Take()->status, 0);
  EXPECT_EQ(connection_->requests(), 1u);
}

TEST_F(ConnectionTest, AFrontendMayComeAndGoAndItsFiguresAddUp) {
  for (uint64_t round = 1; round <= 3; ++round) {
    Connect();
    Send(NewPoolRequest(kPersistentPool));
    host_.Serve();
    EXPECT_EQ(connection_->requests(), round);
    Restart();
    EXPECT_EQ(connection_->state(), State::kWaiting);
    EXPECT_EQ(connection_->requests(), round);
    EXPECT_GE(connection_->notifications(), round);
  }
}

TEST_F(ConnectionTest, BadKeysAreAViolationThatNamesThem) {
  frontend_.WriteKeys();
  frontend_.WriteKey("num-slots", "0");
  EXPECT_FALSE(Follow(XenbusState::kInitialised));
  EXPECT_EQ(connection_->state(), State::kViolated);
  EXPECT_NE(connection_->reason().find("num-slots"), std::string::npos);
  EXPECT_EQ(frontend_.BackendKey("error"), connection_->reason());
  EXPECT_EQ(frontend_.BackendState(), XenbusState::kClosed);
}

// The frontend dies after each step of the handshake in turn, and is there again afterwards.
TEST_F(ConnectionTest, AFrontendThatDiesAtAnyStepCanComeBack) {
  const std::vector<std::string> keys = {"version",
                                         "num-queues",
                                         "ring-page-order",
                                         "num-slots",
                                         "feature-posted-put",
                                         "queue-0/directory-ref",
                                         "queue-0/event-channel",
                                         "queue-1/directory-ref",
                                         "queue-1/event-channel"};
  for (size_t step = 0; step <= keys.size() + 2; ++step) {
    SCOPED_TRACE(step);
    clock_.Advance(1min);
    frontend_.WriteKeys();
    for (size_t i = step; i < keys.size(); ++i) frontend_.RemoveKey(keys[i]);
    if (step > keys.size()) Follow(XenbusState::kInitialised);
    if (step > keys.size() + 1) Follow(XenbusState::kConnected);
    // Its driver's crash is seen as Closed, or not before it starts again.
    if (step % 2 == 0) Follow(XenbusState::kClosed);
    frontend_.MakeQueues();
    Follow(XenbusState::kInitialising);
    ASSERT_EQ(connection_->state(), State::kWaiting);
    EXPECT_EQ(hypervisor_.mapped(), 0);
    Connect();
    Restart();
  }
}

TEST_F(ConnectionTest, APortThatADyingProcessHoldsIsTriedAgain) {
  hypervisor_.HoldPorts(true);
  frontend_.WriteKeys();
  EXPECT_TRUE(Follow(XenbusState::kInitialised));
  EXPECT_TRUE(connection_->FollowFrontend());
  EXPECT_EQ(connection_->state(), State::kWaiting);
  EXPECT_EQ(frontend_.BackendState(), XenbusState::kInitWait);
  hypervisor_.HoldPorts(false);
  EXPECT_FALSE(connection_->FollowFrontend());
  EXPECT_EQ(connection_->state(), State::kConnected);
}

TEST_F(ConnectionTest, WhatWeCannotMapNowIsTriedAgainAndNoViolation) {
  hypervisor_.FailMaps(ErrorCode::kExhausted);
  frontend_.WriteKeys();
  EXPECT_TRUE(Follow(XenbusState::kInitialised));
  EXPECT_EQ(connection_->state(), State::kWaiting);
  hypervisor_.FailMaps({});
  EXPECT_FALSE(connection_->FollowFrontend());
  EXPECT_EQ(connection_->state(), State::kConnected);
}

TEST_F(ConnectionTest, AFrontendThatCannotBeServedIsGivenUpInTheEnd) {
  hypervisor_.HoldPorts(true);
  frontend_.WriteKeys();
  frontend_.SetState(XenbusState::kInitialised);
  int tries = 0;
  while (connection_->FollowFrontend() && ++tries < 1000) clock_.Advance(1s);
  EXPECT_LT(tries, 100);
  EXPECT_EQ(connection_->state(), State::kViolated);
  EXPECT_NE(frontend_.BackendKey("error").find("event channel"), std::string::npos);
}

// Reading keys, mapping and unmapping is work for the control thread, and the guest's to cause.
TEST_F(ConnectionTest, AFrontendThatReconnectsWithoutEndIsSlowedDown) {
  int connected = 0;
  for (int i = 0; i < 1000; ++i) {
    frontend_.WriteKeys();
    const bool again = Follow(XenbusState::kInitialised);
    EXPECT_EQ(again, connection_->state() != State::kConnected);
    if (!again) ++connected;
    Follow(XenbusState::kInitialising);
  }
  EXPECT_GE(connected, 5);
  EXPECT_LE(connected, 50);
  clock_.Advance(1min);
  EXPECT_FALSE(Follow(XenbusState::kInitialised));
  EXPECT_EQ(connection_->state(), State::kConnected) << "and is served again later";
}

TEST_F(ConnectionTest, ADirectoryThatCannotBeReadChangesNothing) {
  Connect();
  hypervisor_.directory().FailReads(ErrorCode::kUnavailable);
  EXPECT_TRUE(connection_->FollowFrontend()) << "to be tried again";
  EXPECT_EQ(connection_->state(), State::kConnected);
  hypervisor_.directory().FailReads({});
  EXPECT_FALSE(Follow(XenbusState::kClosed));
  EXPECT_EQ(connection_->state(), State::kClosed);
}

TEST_F(ConnectionTest, NothingIsWrittenOverADirectoryThatCannotBeRead) {
  Connect();
  hypervisor_.directory().FailReads(ErrorCode::kUnavailable);
  EXPECT_FALSE(Connection::Create(Context(), guest_->info(), store_guest_));
  EXPECT_EQ(hypervisor_.directory().ValueOf(FrontendPath(GuestId{1}) + "/state"), "3");
}

// ---- another daemon ----

TEST_F(ConnectionTest, ASuccessorTakesOverAConnectedFrontend) {
  Connect();
  frontend_.SetState(XenbusState::kConnected);
  Send(NewPoolRequest(kPersistentPool));
  hypervisor_.directory().TakeHistory(BackendPath(GuestId{1}) + "/state");
  Begin();
  EXPECT_FALSE(connection_->FollowFrontend());
  EXPECT_EQ(connection_->state(), State::kConnected);
  for (const auto& state :
       hypervisor_.directory().TakeHistory(BackendPath(GuestId{1}) + "/state")) {
    EXPECT_EQ(state, "4") << "the frontend saw a backend that went";
  }
  host_.Serve();
  EXPECT_EQ(frontend_.queue().Take()->status, 0) << "what waited is executed";
}

TEST_F(ConnectionTest, ASuccessorFindsAFrontendInTheMiddleOfTheHandshake) {
  frontend_.WriteKeys();
  frontend_.SetState(XenbusState::kInitialised);
  Begin();
  EXPECT_FALSE(connection_->FollowFrontend());
  EXPECT_EQ(connection_->state(), State::kConnected);
}

TEST_F(ConnectionTest, ASuccessorDoesNotKeepTheErrorOfItsPredecessor) {
  Reach(State::kViolated);
  ASSERT_FALSE(frontend_.BackendKey("error").empty());
  Begin();
  EXPECT_TRUE(frontend_.BackendKey("error").empty());
  EXPECT_EQ(frontend_.BackendState(), XenbusState::kInitWait);
}

// ---- violations ----

TEST_F(ConnectionTest, AViolationOfOneQueueClosesThemAll) {
  Connect();
  BreakProtocol(1);
  EXPECT_EQ(reports_, 1);
  EXPECT_EQ(connection_->state(), State::kConnected) << "the worker only reports";
  connection_->HandleReport();
  EXPECT_EQ(connection_->state(), State::kViolated);
  EXPECT_EQ(connection_->reason(), "unknown request flags");
  EXPECT_EQ(host_.queues(), 0u);
  EXPECT_EQ(hypervisor_.mapped(), 0);
}

TEST_F(ConnectionTest, WhatIsStoredSurvivesAViolation) {
  Connect();
  Send(NewPoolRequest(kPersistentPool));
  Send(PutRequest(0, {}, 0, 0));
  BreakProtocol();
  connection_->HandleReport();
  EXPECT_EQ(store_->Stats().stored[1].pages, 1u);
}

TEST_F(ConnectionTest, ForgivenessLetsAFrontendStartAgain) {
  Reach(State::kViolated);
  Follow(XenbusState::kInitialising);
  connection_->Forgive();
  EXPECT_TRUE(frontend_.BackendKey("error").empty());
  EXPECT_FALSE(connection_->FollowFrontend());
  EXPECT_EQ(connection_->state(), State::kWaiting);
  frontend_.MakeQueues();
  Connect();
}

TEST_F(ConnectionTest, ForgivenessAloneConnectsNobody) {
  Reach(State::kViolated);
  connection_->Forgive();
  EXPECT_FALSE(connection_->FollowFrontend());
  EXPECT_EQ(connection_->state(), State::kClosed) << "the frontend has not started again";
}

TEST_F(ConnectionTest, ForgivingWhoDidNothingChangesNothing) {
  Connect();
  connection_->Forgive();
  EXPECT_EQ(connection_->state(), State::kConnected);
}

// Two queues break; the second one's report comes while the first one's is being handled.
TEST_F(ConnectionTest, AReportThatComesLateIsNotHeldAgainstAForgivenFrontend) {
  Connect();
  BreakProtocol(0);
  host_.BeforeDetach([&] { BreakProtocol(1); });
  connection_->HandleReport();
  ASSERT_EQ(connection_->state(), State::kViolated);
  connection_->Forgive();
  EXPECT_FALSE(Follow(XenbusState::kInitialising));
  connection_->HandleReport();
  EXPECT_EQ(connection_->state(), State::kWaiting);
}

// Its violation is not handled yet when it leaves, or is found while its queues are detached.
TEST_F(ConnectionTest, AFrontendDoesNotEscapeByLeavingInTime) {
  for (const XenbusState away : {XenbusState::kClosed, XenbusState::kInitialising}) {
    Connect();
    host_.BeforeDetach([&] { BreakProtocol(); });
    EXPECT_FALSE(Follow(away));
    EXPECT_EQ(connection_->state(), State::kViolated);
    EXPECT_FALSE(frontend_.BackendKey("error").empty());
    connection_->Forgive();
    Restart();
  }
}

TEST_F(ConnectionTest, AViolationIsOneLineBelowWarning) {
  Reach(State::kViolated);
  EXPECT_EQ(log_.text(),
            "info: guest 1 (guest): connected, queues: 2\n"
            "info: guest 1 (guest): disconnected: unknown request flags "
            "(0 such lines left out before)\n");
}

TEST_F(ConnectionTest, ViolationsDoNotFillTheLog) {
  for (int i = 0; i < 100; ++i) {
    frontend_.WriteKeys();
    frontend_.WriteKey("version", "7");
    clock_.Advance(1s);
    Follow(XenbusState::kInitialised);
    ASSERT_EQ(connection_->state(), State::kViolated);
    connection_->Forgive();
    Restart();
  }
  EXPECT_LE(log_.lines(), 16u);  // five at once, and one each ten seconds
  EXPECT_NE(log_.text().find("(9 such lines left out before)"), std::string::npos);
}

TEST_F(ConnectionTest, ReconnectionsDoNotFillTheLog) {
  for (int i = 0; i < 1000; ++i) {
    frontend_.WriteKeys();
    Follow(XenbusState::kInitialised);
    Follow(XenbusState::kInitialising);
  }
  EXPECT_LE(log_.lines(), 50u);
}

}  // namespace
}  // namespace tmem
