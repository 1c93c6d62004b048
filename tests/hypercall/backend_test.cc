#include "hypercall/backend.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/timerfd.h>

#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

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

constexpr int kDirectoryFd = 0;  // of PollFds
constexpr int kReportFd = 1;
constexpr int kRetryFd = 2;

bool Readable(int fd, int timeout_ms = 0) {
  pollfd poll_fd{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&poll_fd, 1, timeout_ms) == 1;
}

class BackendTest : public testing::Test {
 protected:
  void Start() {
    backend_.reset();  // the old daemon ends before the new one begins
    backend_ = std::make_unique<Backend>(
        hypervisor_, *store_, host_, clock_,
        [this](const GuestInfo& info) {
          ++admissions_;
          return refused_.contains(info.name) ? std::nullopt : std::optional(GuestSettings{});
        },
        WireLimits{});
    ASSERT_TRUE(backend_->Start());
    Settle();
  }
  // Handles all that is waiting; retries are waited for by WaitForRetry.
  void Settle() {
    while (Readable(backend_->PollFds()[kDirectoryFd]) ||
           Readable(backend_->PollFds()[kReportFd])) {
      backend_->HandleEvents();
    }
  }
  bool WaitForRetry() {
    if (!Readable(backend_->PollFds()[kRetryFd], 60'000)) return false;
    backend_->HandleEvents();
    return true;
  }

  // A guest with a frontend, not yet told to the backend.
  TestFrontend& Boot(uint16_t domid, const Uuid& uuid, std::string_view name = "guest") {
    frontends_.push_back(std::make_unique<TestFrontend>(
        hypervisor_, hypervisor_.AddGuest(domid, name, uuid), FrontendOptions{.queues = 2}));
    return *frontends_.back();
  }
  TestFrontend& BootConnected(uint16_t domid, const Uuid& uuid) {
    TestFrontend& frontend = Boot(domid, uuid);
    Settle();
    frontend.Initialise();
    Settle();
    EXPECT_EQ(frontend.BackendState(), XenbusState::kConnected);
    frontend.SetState(XenbusState::kConnected);
    Settle();
    return frontend;
  }
  // Sends a request and has it served.
  static void Send(TestFrontend& frontend, const tmemif_request& request) {
    frontend.queue().Produce(request);
    frontend.queue().Publish();
  }
  int32_t Run(TestFrontend& frontend, const tmemif_request& request) {
    Send(frontend, request);
    host_.Serve();
    return frontend.queue().Take().value().status;
  }
  void BreakProtocol(TestFrontend& frontend) {
    tmemif_request request{};
    request.flags = UINT8_MAX;
    Send(frontend, request);
    host_.Serve();
  }
  std::string StateOf(uint16_t domid) const {
    for (const ConnectionInfo& info : backend_->Connections()) {
      if (info.guest.id == GuestId{domid}) return info.state;
    }
    return "none";
  }
  uint64_t stored() const { return store_->Stats().stored[1].pages; }

  LogCapture log_;
  FakeHypervisor hypervisor_;
  ManualClock clock_;
  TestHost host_;
  std::unique_ptr<Store> store_ = std::move(Store::Create({.capacity = MiB(16)}).value());
  std::set<std::string> refused_;
  int admissions_ = 0;
  std::vector<std::unique_ptr<TestFrontend>> frontends_;
  std::unique_ptr<Backend> backend_;
};

// ---- guests come and go ----

TEST_F(BackendTest, GuestsThatRanBeforeAndGuestsThatComeGetADevice) {
  TestFrontend& early = Boot(1, {{1, 1}}, "early");
  Start();
  EXPECT_EQ(early.BackendState(), XenbusState::kInitWait);
  TestFrontend& late = Boot(2, {{2, 2}}, "late");
  Settle();
  EXPECT_EQ(late.BackendState(), XenbusState::kInitWait);
  EXPECT_EQ(store_->Guests(), (std::vector<GuestId>{GuestId{1}, GuestId{2}}));
  EXPECT_EQ(StateOf(1), "waiting");
  EXPECT_EQ(StateOf(2), "waiting");
}

TEST_F(BackendTest, AGuestThatIsRefusedGetsNothingAndIsAskedForOnce) {
  refused_ = {"guest"};
  Start();
  TestFrontend& frontend = Boot(1, {{1, 1}});
  Settle();
  Boot(2, {{2, 2}}, "other");
  Settle();
  EXPECT_FALSE(hypervisor_.directory().Exists(BackendPath(GuestId{1})));
  EXPECT_EQ(store_->Guests(), std::vector<GuestId>{GuestId{2}});
  EXPECT_EQ(admissions_, 2);
  frontend.Initialise();  // it tries nevertheless
  Settle();
  EXPECT_EQ(host_.queues(), 0u);
}

TEST_F(BackendTest, AConnectedGuestIsServed) {
  Start();
  TestFrontend& frontend = BootConnected(1, {{1, 1}});
  EXPECT_EQ(Run(frontend, NewPoolRequest(kPersistentPool)), 0);
  EXPECT_EQ(Run(frontend, PutRequest(0, {}, 0, 0)), 1);
  const auto infos = backend_->Connections();
  ASSERT_EQ(infos.size(), 1u);
  EXPECT_EQ(infos[0].state, "connected");
  EXPECT_EQ(infos[0].queues, 2u);
  EXPECT_EQ(infos[0].requests, 2u);
}

TEST_F(BackendTest, AGuestThatGoesWhileConnectedLeavesNothing) {
  Start();
  TestFrontend& frontend = BootConnected(1, {{1, 1}});
  Run(frontend, NewPoolRequest(kPersistentPool));
  Run(frontend, PutRequest(0, {}, 0, 0));
  Send(frontend, PutRequest(0, {}, 1, 0));  // on its way when the guest dies
  ASSERT_EQ(stored(), 1u);
  const size_t watches = hypervisor_.directory().watches();
  hypervisor_.RemoveGuest(1);
  Settle();
  EXPECT_EQ(host_.queues(), 0u);
  EXPECT_EQ(hypervisor_.mapped(), 0);
  EXPECT_EQ(stored(), 0u);
  EXPECT_TRUE(store_->Guests().empty());
  EXPECT_TRUE(backend_->Connections().empty());
  EXPECT_FALSE(hypervisor_.directory().Exists(BackendPath(GuestId{1})));
  EXPECT_EQ(hypervisor_.directory().watches(), watches - 1);
}

TEST_F(BackendTest, AGuestMayDieAtAnyStepOfTheHandshake) {
  Start();
  for (int step = 0; step <= 4; ++step) {
    SCOPED_TRACE(step);
    const Uuid uuid{{1, static_cast<uint64_t>(step)}};
    TestFrontend& frontend = Boot(7, uuid);
    if (step > 0) Settle();
    if (step > 1) frontend.WriteKeys();
    if (step > 2) frontend.SetState(XenbusState::kInitialised);
    if (step > 3) Settle();
    hypervisor_.RemoveGuest(7);
    Settle();
    EXPECT_TRUE(backend_->Connections().empty());
    EXPECT_EQ(hypervisor_.mapped(), 0);
    EXPECT_EQ(host_.queues(), 0u);
  }
  BootConnected(7, {{9, 9}});
}

// The old guest's end and the new one's begin are seen in one go.
TEST_F(BackendTest, ADomidThatIsUsedAgainIsAnotherGuest) {
  Start();
  TestFrontend& first = BootConnected(5, {{1, 1}});
  Run(first, NewPoolRequest(kPersistentPool));
  Run(first, PutRequest(0, {}, 0, 0));
  hypervisor_.RemoveGuest(5);
  TestFrontend& second = Boot(5, {{2, 2}}, "another");
  Settle();
  EXPECT_EQ(stored(), 0u);
  EXPECT_EQ(StateOf(5), "waiting");
  EXPECT_EQ(backend_->Find("5")->name, "another");
  second.Initialise();
  Settle();
  EXPECT_EQ(Run(second, GetRequest(0, {}, 0, 0)), -int32_t{TMEMIF_ENODEV});
}

TEST_F(BackendTest, ARefusalIsNotInherited) {
  refused_ = {"guest"};
  Start();
  Boot(5, {{1, 1}});
  Settle();
  hypervisor_.RemoveGuest(5);
  TestFrontend& second = Boot(5, {{2, 2}}, "another");
  Settle();
  EXPECT_EQ(second.BackendState(), XenbusState::kInitWait);
}

TEST_F(BackendTest, GuestsAreFoundByNumberAndByName) {
  Start();
  Boot(1, {{1, 1}}, "2");  // a name that is another's number
  Boot(2, {{2, 2}}, "web");
  Settle();
  EXPECT_EQ(backend_->Find("2")->id, GuestId{2});
  EXPECT_EQ(backend_->Find("web")->id, GuestId{2});
  EXPECT_EQ(backend_->Find("1")->name, "2");
  EXPECT_EQ(backend_->Find("nobody"), std::nullopt);
  EXPECT_EQ(backend_->Find(""), std::nullopt);
}

// ---- reconnection ----

TEST_F(BackendTest, AFrontendReconnectsAndFindsItsPages) {
  Start();
  TestFrontend& frontend = BootConnected(1, {{1, 1}});
  Run(frontend, NewPoolRequest(kPersistentPool));
  Run(frontend, PutRequest(0, {}, 0, 0));
  frontend.SetState(XenbusState::kClosing);
  Settle();
  EXPECT_EQ(frontend.BackendState(), XenbusState::kClosing);
  EXPECT_EQ(hypervisor_.mapped(), 0);
  frontend.SetState(XenbusState::kClosed);
  frontend.MakeQueues();
  frontend.SetState(XenbusState::kInitialising);
  Settle();
  EXPECT_EQ(frontend.BackendState(), XenbusState::kInitWait);
  frontend.Initialise();
  Settle();
  EXPECT_EQ(Run(frontend, GetRequest(0, {}, 0, 0)), 1);
}

TEST_F(BackendTest, ASuccessorGoesOnWithoutTheFrontendNoticing) {
  Start();
  TestFrontend& frontend = BootConnected(1, {{1, 1}});
  Send(frontend, NewPoolRequest(kPersistentPool));
  hypervisor_.directory().TakeHistory(BackendPath(GuestId{1}) + "/state");
  backend_.reset();
  EXPECT_EQ(host_.queues(), 0u);
  EXPECT_EQ(hypervisor_.mapped(), 0);
  store_ = std::move(Store::Create({.capacity = MiB(16)}).value());
  Start();
  host_.Serve();
  EXPECT_EQ(frontend.queue().Take()->status, 0);
  for (const auto& state :
       hypervisor_.directory().TakeHistory(BackendPath(GuestId{1}) + "/state")) {
    EXPECT_EQ(state, "4");
  }
}

// ---- retries ----

TEST_F(BackendTest, AChannelThatIsHeldIsTriedAgainUntilItIsFree) {
  Start();
  TestFrontend& frontend = Boot(1, {{1, 1}});
  Settle();
  hypervisor_.HoldPorts(true);
  frontend.Initialise();
  Settle();
  EXPECT_EQ(StateOf(1), "waiting");
  ASSERT_TRUE(WaitForRetry());
  EXPECT_EQ(StateOf(1), "waiting");
  hypervisor_.HoldPorts(false);
  ASSERT_TRUE(WaitForRetry());
  EXPECT_EQ(StateOf(1), "connected");
  EXPECT_FALSE(Readable(backend_->PollFds()[kRetryFd]));
}

// A guest whose retry is under way changes its state all the time.
TEST_F(BackendTest, ABusyGuestDoesNotPutOffTheRetriesOfOthers) {
  Start();
  TestFrontend& quiet = Boot(1, {{1, 1}});
  TestFrontend& busy = Boot(2, {{2, 2}}, "busy");
  Settle();
  const auto hold = [](TestFrontend& frontend, bool held) {
    frontend.guest().port(frontend.queue().event_port())->bound = held;
  };
  hold(quiet, true);
  hold(busy, true);
  quiet.Initialise();
  busy.Initialise();
  Settle();
  hold(quiet, false);
  const auto nanoseconds_left = [&] {
    itimerspec timer{};
    ::timerfd_gettime(backend_->PollFds()[kRetryFd], &timer);
    return timer.it_value.tv_nsec;
  };
  const auto in_full = nanoseconds_left();
  while (nanoseconds_left() > in_full / 2) {
  }
  const auto before = nanoseconds_left();
  busy.SetState(XenbusState::kInitialised);
  backend_->HandleEvents();
  // Either the timer ran out before that, and the retry was made, or it runs on as it did.
  if (StateOf(1) == "waiting") {
    EXPECT_LE(nanoseconds_left(), before) << "the timer began anew";
    ASSERT_TRUE(WaitForRetry());
  }
  EXPECT_EQ(StateOf(1), "connected");
}

TEST_F(BackendTest, AGuestThatGoesIsNotTriedAgain) {
  Start();
  TestFrontend& frontend = Boot(1, {{1, 1}});
  Settle();
  hypervisor_.HoldPorts(true);
  frontend.Initialise();
  Settle();
  hypervisor_.RemoveGuest(1);
  Settle();
  hypervisor_.HoldPorts(false);
  const uint64_t binds = hypervisor_.binds();
  ASSERT_TRUE(WaitForRetry());
  EXPECT_EQ(hypervisor_.binds(), binds);
}

// ---- storms (XSA-349) ----

TEST_F(BackendTest, AStormOfStatesIsFollowedOnceATurn) {
  Start();
  TestFrontend& stormy = BootConnected(1, {{1, 1}});
  for (int i = 0; i < 200; ++i) stormy.SetState(XenbusState::kConnected);
  const uint64_t before = hypervisor_.directory().reads();
  backend_->HandleEvents();
  EXPECT_LE(hypervisor_.directory().reads() - before, 2u);
}

TEST_F(BackendTest, AStormDoesNotKeepOneTurnBusyWithoutEnd) {
  Start();
  TestFrontend& stormy = BootConnected(1, {{1, 1}});
  for (int i = 0; i < 10'000; ++i) stormy.SetState(XenbusState::kConnected);
  backend_->HandleEvents();
  EXPECT_TRUE(Readable(backend_->PollFds()[kDirectoryFd])) << "the rest waits for the next turn";
  TestFrontend& other = Boot(2, {{2, 2}}, "other");
  Settle();
  EXPECT_EQ(other.BackendState(), XenbusState::kInitWait);
}

// ---- violations ----

TEST_F(BackendTest, AViolationHarmsNobodyElse) {
  Start();
  TestFrontend& good = BootConnected(1, {{1, 1}});
  TestFrontend& bad = BootConnected(2, {{2, 2}});
  Run(good, NewPoolRequest(kPersistentPool));
  Run(good, PutRequest(0, {}, 0, 0));
  BreakProtocol(bad);
  Settle();
  EXPECT_EQ(StateOf(2), "violated");
  EXPECT_EQ(backend_->Connections()[1].reason, "unknown request flags");
  EXPECT_EQ(bad.BackendState(), XenbusState::kClosed);
  EXPECT_EQ(bad.BackendKey("error"), "unknown request flags");
  EXPECT_EQ(StateOf(1), "connected");
  EXPECT_EQ(Run(good, GetRequest(0, {}, 0, 0)), 1);
}

TEST_F(BackendTest, AForgivenGuestConnectsAgain) {
  Start();
  TestFrontend& frontend = BootConnected(1, {{1, 1}});
  BreakProtocol(frontend);
  Settle();
  frontend.MakeQueues();
  frontend.SetState(XenbusState::kInitialising);
  Settle();
  ASSERT_EQ(StateOf(1), "violated");
  ASSERT_TRUE(backend_->Forgive(GuestId{1}));
  EXPECT_EQ(StateOf(1), "waiting");
  frontend.Initialise();
  Settle();
  EXPECT_EQ(StateOf(1), "connected");
  EXPECT_EQ(Run(frontend, NewPoolRequest(kPersistentPool)), 0);
}

TEST_F(BackendTest, NobodyCanBeForgivenWhoIsNotThere) {
  Start();
  EXPECT_EQ(backend_->Forgive(GuestId{9}).error().code, ErrorCode::kNotFound);
}

// The violation is reported while the control thread is already busy with the guest's end; the next
// guest of that domid has nothing to do with it.
TEST_F(BackendTest, AViolationIsNotHeldAgainstTheNextGuestOfTheDomid) {
  Start();
  TestFrontend& first = BootConnected(5, {{1, 1}});
  hypervisor_.RemoveGuest(5);
  TestFrontend& second = Boot(5, {{2, 2}}, "another");
  host_.BeforeDetach([&] { BreakProtocol(first); });
  Settle();
  EXPECT_EQ(StateOf(5), "waiting");
  second.Initialise();
  Settle();
  EXPECT_EQ(StateOf(5), "connected");
}

TEST_F(BackendTest, GuestsThatComeAndGoDoNotFillTheLog) {
  Start();
  refused_ = {"refused"};
  for (uint64_t i = 0; i < 500; ++i) {
    Boot(1, {{1, i}});
    Boot(2, {{2, i}}, "refused");
    Settle();
    hypervisor_.RemoveGuest(1);
    hypervisor_.RemoveGuest(2);
    Settle();
    frontends_.clear();
  }
  EXPECT_LE(log_.lines(), 100u);
}

}  // namespace
}  // namespace tmem
