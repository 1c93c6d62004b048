#include "hypercall/ring.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <rapidcheck/gtest.h>

#include <cstdint>
#include <memory>
#include <thread>

#include "hypercall/fake_hypervisor.h"
#include "hypercall/test_frontend.h"

namespace tmem {
namespace {

using Taken = BackRing::Taken;

constexpr uint32_t kNearTheEnd = UINT32_MAX - 20;  // the indices wrap soon

tmemif_request Numbered(uint32_t number) {
  tmemif_request request = FlushPageRequest(0, {}, number);
  request.id = static_cast<uint16_t>(number);
  return request;
}

tmemif_response AnswerTo(const tmemif_request& request) {
  return {.id = request.id,
          .reserved = 0,
          .status = static_cast<int32_t>(request.u.page.index),
          .done = request.u.page.index};
}

class RingTest : public testing::Test {
 protected:
  void Open(uint32_t order, uint32_t at) {
    front_ = std::make_unique<FrontQueue>(guest_, order, 1, at);
    back_ = std::make_unique<BackRing>(front_->ring_bytes(), order);
  }

  FakeHypervisor hypervisor_;
  std::shared_ptr<FakeGuest> guest_ = hypervisor_.AddGuest(1, "guest", {});
  std::unique_ptr<FrontQueue> front_;
  std::unique_ptr<BackRing> back_;
  tmemif_request request_{};
};

TEST_F(RingTest, AnEmptyRingHasNothing) {
  Open(0, 0);
  EXPECT_EQ(back_->Take(request_), Taken::kNothing);
  EXPECT_FALSE(back_->Push());
  EXPECT_EQ(front_->Take(), std::nullopt);
}

TEST_F(RingTest, KnowsOfWhatItSawWhenItLastLooked) {
  Open(0, kNearTheEnd);
  EXPECT_EQ(back_->known(), 0u);
  for (uint32_t number = 0; number < 3; ++number) front_->Produce(Numbered(number));
  front_->Publish();
  EXPECT_EQ(back_->known(), 0u);
  ASSERT_EQ(back_->Take(request_), Taken::kRequest);
  EXPECT_EQ(back_->known(), 2u);
  front_->Produce(Numbered(3));
  front_->Publish();
  ASSERT_EQ(back_->Take(request_), Taken::kRequest);
  EXPECT_EQ(back_->known(), 1u);
}

TEST_F(RingTest, RequestsAndResponsesSurviveEveryOrderAndTheWrapOfTheIndices) {
  for (uint32_t order = 0; order <= TMEMIF_MAX_RING_PAGE_ORDER; ++order) {
    SCOPED_TRACE(order);
    Open(order, UINT32_MAX - TMEMIF_RING_ENTRIES(order) - 1);
    uint32_t number = 0;
    for (int round = 0; round < 5; ++round) {
      const uint32_t first = number;
      while (front_->free() > 0) front_->Produce(Numbered(number++));
      front_->Publish();
      for (uint32_t i = first; i < number; ++i) {
        ASSERT_EQ(back_->Take(request_), Taken::kRequest);
        ASSERT_EQ(request_.u.page.index, i);
        back_->Answer(AnswerTo(request_));
      }
      ASSERT_EQ(back_->Take(request_), Taken::kNothing);
      EXPECT_EQ(back_->unpushed(), front_->entries());
      ASSERT_EQ(front_->Take(), std::nullopt) << "responses show before Push";
      back_->Push();
      for (uint32_t i = first; i < number; ++i) {
        const auto response = front_->Take();
        ASSERT_TRUE(response);
        ASSERT_EQ(response->id, static_cast<uint16_t>(i));
        ASSERT_EQ(response->done, i);
      }
    }
  }
}

TEST_F(RingTest, AFullRingIsNoOverrunAndOneMoreIs) {
  for (const uint32_t at : {0u, kNearTheEnd}) {
    Open(0, at);
    front_->ring().req_prod = at + front_->entries();
    EXPECT_EQ(back_->Take(request_), Taken::kRequest);

    Open(0, at);
    front_->ring().req_prod = at + front_->entries() + 1;
    EXPECT_EQ(back_->Take(request_), Taken::kOverrun);
  }
}

TEST_F(RingTest, AnIndexThatGoesBackIsAnOverrun) {
  Open(0, kNearTheEnd);
  front_->Produce(Numbered(0));
  front_->Publish();
  ASSERT_EQ(back_->Take(request_), Taken::kRequest);
  back_->Answer(AnswerTo(request_));
  front_->ring().req_prod = kNearTheEnd;
  EXPECT_EQ(back_->Take(request_), Taken::kOverrun);
}

// What was taken and not answered is behind the backend, though still on the ring.
TEST_F(RingTest, AnIndexThatGoesBackToAnUnansweredRequestIsAnOverrun) {
  Open(0, kNearTheEnd);
  for (uint32_t i = 0; i < 4; ++i) front_->Produce(Numbered(i));
  front_->Publish();
  for (uint32_t i = 0; i < 4; ++i) ASSERT_EQ(back_->Take(request_), Taken::kRequest);
  front_->ring().req_prod = kNearTheEnd + 2;
  EXPECT_EQ(back_->Take(request_), Taken::kOverrun);
}

TEST_F(RingTest, OverrunCountsUnansweredRequestsToo) {
  Open(0, 0);
  for (uint32_t i = 0; i < 4; ++i) front_->Produce(Numbered(i));
  front_->Publish();
  for (uint32_t i = 0; i < 4; ++i) ASSERT_EQ(back_->Take(request_), Taken::kRequest);
  front_->ring().req_prod = front_->entries() + 1;  // the four taken are unanswered still
  EXPECT_EQ(back_->Take(request_), Taken::kOverrun);
}

TEST_F(RingTest, OurIndicesAreNeverReadBack) {
  Open(0, 0);
  front_->Produce(Numbered(7));
  front_->Publish();
  front_->ring().rsp_prod = 99;
  ASSERT_EQ(back_->Take(request_), Taken::kRequest);
  EXPECT_EQ(request_.u.page.index, 7u);
  back_->Answer(AnswerTo(request_));
  back_->Push();
  EXPECT_EQ(front_->ring().rsp_prod, 1u);
}

TEST_F(RingTest, ASuccessorGoesOnWithWhatWasNotAnswered) {
  Open(0, kNearTheEnd);
  for (uint32_t i = 0; i < 30; ++i) front_->Produce(Numbered(i));
  front_->Publish();
  uint32_t answered = 0;
  while (answered < 30) {
    BackRing back(front_->ring_bytes(), 0);
    for (int i = 0; i < 7 && answered < 30; ++i) {
      ASSERT_EQ(back.Take(request_), Taken::kRequest);
      ASSERT_EQ(request_.u.page.index, answered);
      if (i == 6) break;  // taken, and dies before it is answered
      back.Answer(AnswerTo(request_));
      ++answered;
    }
    back.Push();
  }
  for (uint32_t i = 0; i < 30; ++i) EXPECT_EQ(front_->Take()->id, i);
}

TEST_F(RingTest, ArmTellsOfARequestThatCameMeanwhile) {
  Open(0, kNearTheEnd);
  EXPECT_FALSE(back_->Arm());
  front_->Produce(Numbered(0));
  EXPECT_TRUE(front_->Publish()) << "who is armed wants to be notified";
  EXPECT_TRUE(back_->Arm());
  ASSERT_EQ(back_->Take(request_), Taken::kRequest);
  front_->Produce(Numbered(1));
  EXPECT_FALSE(front_->Publish()) << "asked for once, notified once";
}

// One side sleeps only after Arm said that nothing is there. From then on, the first thing that
// the other side shows must come with a notification.
struct SleepModel {
  bool armed = false;
  bool notified = false;
};

RC_GTEST_PROP(RingPropertyTest, NobodySleepsOverWork, ()) {
  FakeHypervisor hypervisor;
  const auto guest = hypervisor.AddGuest(1, "guest", {});
  const uint32_t at = *rc::gen::element(0u, UINT32_MAX - 50, kNearTheEnd, 0x7fffffffu);
  FrontQueue front(guest, 0, 1, at);
  BackRing back(front.ring_bytes(), 0);
  SleepModel front_sleep;
  SleepModel back_sleep;
  uint32_t published = at;
  uint32_t taken = at;
  uint32_t answered = at;
  uint32_t pushed = at;
  tmemif_request request{};

  for (const int step : *rc::gen::container<std::vector<int>>(300, rc::gen::inRange(0, 8))) {
    switch (step) {
      case 0:
        if (front.free() > 0) front.Produce(Numbered(front.produced()));
        break;
      case 1:
        back_sleep.notified |= front.Publish();
        published = front.produced();
        break;
      case 2:
      case 3: {
        const Taken result = back.Take(request);
        RC_ASSERT(result == (taken == published ? Taken::kNothing : Taken::kRequest));
        if (result == Taken::kRequest) ++taken, back_sleep = {};
        break;
      }
      case 4:
        if (answered != taken) back.Answer({}), ++answered;
        break;
      case 5:
        front_sleep.notified |= back.Push();
        pushed = answered;
        break;
      case 6: {
        const bool there = back.Arm();
        RC_ASSERT(there == (taken != published));
        back_sleep = {.armed = !there, .notified = false};
        break;
      }
      case 7:
        if (front.Take()) {
          front_sleep = {};
        } else {
          const bool there = front.Arm();
          RC_ASSERT(!there);
          front_sleep = {.armed = true, .notified = false};
        }
        break;
    }
    if (back_sleep.armed && taken != published) RC_ASSERT(back_sleep.notified);
    if (front_sleep.armed && front.consumed() != pushed) RC_ASSERT(front_sleep.notified);
  }
}

// The same with two threads that really sleep: a lost wake-up would leave both asleep. Either side
// dawdles for a changing while before it looks, so that they meet at every point of the other's.
TEST_F(RingTest, TwoThreadsThatSleepAtEveryChanceLoseNoWakeUp) {
  constexpr uint32_t kRequests = 20'000;
  Open(0, kNearTheEnd);
  const auto port = guest_->port(front_->event_port());
  const auto dawdle = [](uint32_t i) {
    for (volatile uint32_t spins = i * 37 % 500; spins > 0;) spins = spins - 1;
  };
  std::thread backend([&] {
    tmemif_request request;
    for (uint32_t served = 0; served < kRequests;) {
      if (back_->Take(request) == Taken::kRequest) {
        back_->Answer(AnswerTo(request));
        if (back_->Push()) port->to_guest.Ring();
        dawdle(++served);
      } else if (!back_->Arm()) {
        pollfd poll_fd{.fd = port->to_backend.fd(), .events = POLLIN, .revents = 0};
        if (::poll(&poll_fd, 1, 120'000) != 1) return;
        port->to_backend.Silence();
      }
    }
  });
  uint32_t sent = 0;
  uint32_t got = 0;
  bool slept_well = true;
  while (got < kRequests && slept_well) {
    // Bursts of changing length, so that either side is now the faster, now the slower one.
    for (uint32_t i = 0; i <= got % 5 && front_->free() > 0 && sent < kRequests; ++i) {
      front_->Produce(Numbered(sent++));
    }
    front_->Publish();
    dawdle(got * 3);
    while (const auto response = front_->Take()) EXPECT_EQ(response->done, got++);
    if (got < sent && !front_->Arm()) slept_well = front_->Sleep();
  }
  EXPECT_TRUE(slept_well) << "a wake-up was lost after " << got << " responses";
  backend.join();
}

}  // namespace
}  // namespace tmem
