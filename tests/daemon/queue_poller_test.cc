#include "daemon/queue_poller.h"

#include <gtest/gtest.h>
#include <poll.h>

#include "daemon/manual_clock.h"
#include "daemon/served_guest.h"

namespace tmem::daemon {
namespace {

constexpr ObjectId kObject{{1, 2, 3}};

class QueuePollerTest : public testing::Test {
 protected:
  ServedGuest Guest(uint16_t id) { return {hypervisor_, *store_, id}; }

  bool HasNotification(ServedGuest& guest) {
    pollfd fd{.fd = guest.front().port().to_backend.fd(), .events = POLLIN, .revents = 0};
    return ::poll(&fd, 1, 0) == 1;
  }

  // Puts that fill the ring with the most work that it can hold.
  void FillRing(ServedGuest& guest) {
    guest.Send(NewPoolRequest(kPersistentPool));
    while (poller_->Round(codec_)) {
    }
    const auto pool = static_cast<uint32_t>(guest.front().Take()->status);
    for (uint32_t i = 0; guest.front().free() > 0; ++i) {
      guest.Send(PutRequest(pool, kObject, i * ServedGuest::kSlots, 0, ServedGuest::kSlots));
    }
  }

  uint32_t Responses(ServedGuest& guest) {
    uint32_t count = 0;
    while (guest.front().Take()) ++count;
    return count;
  }

  FakeHypervisor hypervisor_;
  std::unique_ptr<Store> store_ = Store::Create({.capacity = MiB(64)}).value();
  ManualClock clock_;
  std::unique_ptr<QueuePoller> poller_ = QueuePoller::Create(clock_).value();
  PageCodec codec_;
};

TEST_F(QueuePollerTest, ARoundTellsWhetherThereWasWork) {
  EXPECT_TRUE(poller_->empty());
  ServedGuest guest = Guest(1);
  poller_->Add(guest.queue());
  EXPECT_FALSE(poller_->empty());
  EXPECT_FALSE(poller_->Round(codec_));
  guest.Send(NewPoolRequest(kEphemeralPool));
  EXPECT_TRUE(poller_->Round(codec_));
  EXPECT_EQ(Responses(guest), 1u);
  EXPECT_FALSE(poller_->Round(codec_));
}

// The class of XSA-332 and XSA-391: a guest that always has work must not starve the others.
TEST_F(QueuePollerTest, AFullRingDelaysOthersByOneTurn) {
  ServedGuest busy = Guest(1);
  ServedGuest modest = Guest(2);
  poller_->Add(busy.queue());
  poller_->Add(modest.queue());
  FillRing(busy);
  const uint64_t served_before = busy.queue()->requests();
  modest.Send(NewPoolRequest(kEphemeralPool));

  EXPECT_TRUE(poller_->Round(codec_));
  EXPECT_EQ(Responses(modest), 1u);
  EXPECT_EQ(busy.queue()->requests() - served_before, 1u) << "one batch uses up a turn";
  while (poller_->Round(codec_)) {
  }
  EXPECT_EQ(Responses(busy), busy.front().entries());
}

TEST_F(QueuePollerTest, DoesNotSleepOverARequestThatCameMeanwhile) {
  ServedGuest guest = Guest(1);
  poller_->Add(guest.queue());
  EXPECT_FALSE(poller_->Round(codec_));
  guest.Send(NewPoolRequest(kEphemeralPool));
  EXPECT_FALSE(poller_->Arm());
  EXPECT_TRUE(poller_->Round(codec_));
  EXPECT_TRUE(poller_->Arm());
}

TEST_F(QueuePollerTest, ANotificationEndsTheSleep) {
  ServedGuest guest = Guest(1);
  poller_->Add(guest.queue());
  ASSERT_TRUE(poller_->Arm());
  guest.Send(NewPoolRequest(kEphemeralPool));
  poller_->Sleep();
  EXPECT_FALSE(HasNotification(guest)) << "it was acknowledged";
  EXPECT_TRUE(poller_->Round(codec_));
}

TEST_F(QueuePollerTest, ArmsAgainAfterEachRequest) {
  ServedGuest guest = Guest(1);
  poller_->Add(guest.queue());
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(poller_->Arm());
    guest.front().Produce(NewPoolRequest(kEphemeralPool));
    ASSERT_TRUE(guest.front().Publish()) << "the frontend was asked to notify";
    poller_->Sleep();
    ASSERT_TRUE(poller_->Round(codec_));
    ASSERT_EQ(Responses(guest), 1u);
  }
}

TEST_F(QueuePollerTest, WakeEndsTheNextSleep) {
  ASSERT_TRUE(poller_->Arm());
  poller_->Wake();
  poller_->Sleep();
}

TEST_F(QueuePollerTest, ABrokenQueueIsLeftAloneAndTheOthersGoOn) {
  ServedGuest bad = Guest(1);
  ServedGuest good = Guest(2);
  poller_->Add(bad.queue());
  poller_->Add(good.queue());
  bad.BreakProtocol();
  EXPECT_TRUE(poller_->Round(codec_));
  EXPECT_FALSE(poller_->Round(codec_));
  bad.front().Notify();
  good.Send(NewPoolRequest(kEphemeralPool));
  EXPECT_TRUE(poller_->Round(codec_));
  EXPECT_EQ(Responses(good), 1u);
  ASSERT_TRUE(poller_->Arm());
  poller_->Wake();
  poller_->Sleep();
  EXPECT_TRUE(HasNotification(bad)) << "nobody listens to it any more";
}

TEST_F(QueuePollerTest, RemoveLetsGo) {
  ServedGuest guest = Guest(1);
  poller_->Add(guest.queue());
  EXPECT_EQ(guest.queue().use_count(), 2);
  poller_->Remove(*guest.queue());
  EXPECT_EQ(guest.queue().use_count(), 1);
  poller_->Remove(*guest.queue());
  guest.Send(NewPoolRequest(kEphemeralPool));
  EXPECT_FALSE(poller_->Round(codec_));
}

class VainNotificationsTest : public QueuePollerTest {
 protected:
  VainNotificationsTest() {
    poller_->Add(guest_.queue());
    for (int i = 0; i <= kVainWakesTolerated; ++i) NotifyAndSleep();
  }

  void NotifyAndSleep() {
    guest_.front().Notify();
    ASSERT_TRUE(poller_->Arm());
    poller_->Sleep();
    ASSERT_FALSE(poller_->Round(codec_));
  }

  ServedGuest guest_ = Guest(1);
};

TEST_F(VainNotificationsTest, AStormIsHeardOnceInAWhile) {
  NotifyAndSleep();
  EXPECT_TRUE(HasNotification(guest_)) << "not listened to";
  clock_.Advance(kMuteTime);
  poller_->Sleep();
  EXPECT_FALSE(HasNotification(guest_)) << "heard";
  NotifyAndSleep();
  EXPECT_TRUE(HasNotification(guest_)) << "and muted again at once";
}

TEST_F(VainNotificationsTest, TheRingIsStillServed) {
  guest_.Send(NewPoolRequest(kEphemeralPool));
  EXPECT_TRUE(poller_->Round(codec_));
  EXPECT_EQ(Responses(guest_), 1u);
}

TEST_F(VainNotificationsTest, ARequestRestoresTrust) {
  guest_.Send(NewPoolRequest(kEphemeralPool));
  ASSERT_TRUE(poller_->Round(codec_));
  clock_.Advance(kMuteTime);
  for (int i = 0; i < kVainWakesTolerated; ++i) {
    NotifyAndSleep();
    EXPECT_FALSE(HasNotification(guest_)) << "heard";
  }
}

}  // namespace
}  // namespace tmem::daemon
