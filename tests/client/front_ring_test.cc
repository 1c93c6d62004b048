#include "client/front_ring.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <rapidcheck.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>

#include "base/units.h"
#include "hypercall/loopback/bell.h"
#include "hypercall/ring.h"

namespace tmem::client {
namespace {

// Ring memory as SharedArea lays it.
class Memory {
 public:
  explicit Memory(uint32_t order)
      : size_(TMEMIF_RING_BYTES(order)),
        bytes_(static_cast<std::byte*>(std::aligned_alloc(kPageSize, size_))) {
    std::memset(bytes_.get(), 0, size_);
    ring().rsp_event = 1;
  }
  std::span<std::byte> bytes() const { return {bytes_.get(), size_}; }
  tmemif_ring& ring() const { return *reinterpret_cast<tmemif_ring*>(bytes_.get()); }

 private:
  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };
  const size_t size_;
  const std::unique_ptr<std::byte, Free> bytes_;
};

tmemif_request RequestNumber(uint32_t number) {
  tmemif_request request{};
  request.id = static_cast<uint16_t>(number);
  request.u.words[0] = number;
  return request;
}

// Both halves, moved at random: everything arrives once, in order, and whoever asked to be notified
// is, exactly when what it waits for came.
TEST(FrontRingTest, MeetsTheBackRing) {
  EXPECT_TRUE(rc::check("requests and responses arrive in order", [] {
    const uint32_t order = *rc::gen::inRange(0u, 3u);
    const Memory memory(order);
    FrontRing front(memory.bytes(), order);
    BackRing back(memory.bytes(), order);
    uint32_t asked = 0;
    uint32_t executed = 0;
    uint32_t answered = 0;
    bool back_sleeps = false;
    bool front_sleeps = true;  // rsp_event is 1 at first
    const int steps = *rc::gen::inRange(1, 400);
    for (int i = 0; i < steps; ++i) {
      switch (*rc::gen::inRange(0, 5)) {
        case 0:
        case 1: {
          if (front.full()) {
            RC_ASSERT(asked - answered == TMEMIF_RING_ENTRIES(order));
            break;
          }
          const bool notify = front.Push(RequestNumber(asked++));
          RC_ASSERT(!back_sleeps || notify);
          if (notify) back_sleeps = false;
          break;
        }
        case 2: {
          tmemif_request request;
          const auto taken = back.Take(request);
          RC_ASSERT((taken == BackRing::Taken::kRequest) == (executed < asked));
          if (taken != BackRing::Taken::kRequest) break;
          RC_ASSERT(request.u.words[0] == executed);
          ++executed;
          back.Answer({.id = request.id, .reserved = 0, .status = 1, .done = 0});
          const bool notify = back.Push();
          RC_ASSERT(!front_sleeps || notify);
          if (notify) front_sleeps = false;
          break;
        }
        case 3: {
          tmemif_response response;
          RC_ASSERT(front.HasAnswered(front.consumed()) == (answered < executed));
          const auto taken = front.Take(response);
          RC_ASSERT((taken == FrontRing::Taken::kResponse) == (answered < executed));
          if (taken != FrontRing::Taken::kResponse) break;
          RC_ASSERT(response.id == static_cast<uint16_t>(answered));
          ++answered;
          break;
        }
        case 4:
          if (answered == executed) {
            RC_ASSERT(!front.Arm());
            front_sleeps = true;
          } else {
            RC_ASSERT(front.Arm());
          }
          if (!back.Arm()) back_sleeps = true;
          break;
      }
      RC_ASSERT(front.unanswered() == asked - answered);
    }
  }));
}

TEST(FrontRingTest, SeesThroughClaimsOfAnswersToNothing) {
  for (const uint32_t claim : {2u, 33u, 0x80000000u, 0xffffffffu}) {
    const Memory memory(0);
    FrontRing ring(memory.bytes(), 0);
    ring.Push(RequestNumber(0));
    std::atomic_ref(memory.ring().rsp_prod).store(claim);
    tmemif_response response;
    EXPECT_EQ(ring.Take(response), FrontRing::Taken::kOverrun) << claim;
  }
}

TEST(FrontRingTest, IsNotMisledByWhatTheDaemonWritesOverRequests) {
  const Memory memory(0);
  FrontRing ring(memory.bytes(), 0);
  ring.Push(RequestNumber(0));
  std::memset(memory.bytes().data(), 0xff, 64);  // our own line of the header
  ring.Push(RequestNumber(1));
  EXPECT_EQ(ring.produced(), 2u);
  EXPECT_EQ(memory.ring().req_prod, 2u);
}

// Two threads, both sleeping whenever the ring lets them: no wake-up may be lost. A lost
// notification would hang the test.
TEST(FrontRingTest, LosesNoWakeUpBetweenThreads) {
  const Memory memory(0);
  FrontRing front(memory.bytes(), 0);
  BackRing back(memory.bytes(), 0);
  constexpr uint32_t kRequests = 20'000;
  const loopback::Bell front_bell = *loopback::Bell::Create();
  const loopback::Bell back_bell = *loopback::Bell::Create();
  const auto sleep_on = [](const loopback::Bell& bell) {
    pollfd wait{bell.fd(), POLLIN, 0};
    (void)::poll(&wait, 1, -1);
    bell.Silence();
  };

  std::thread backend([&] {
    uint32_t executed = 0;
    while (executed < kRequests) {
      tmemif_request request;
      while (back.Take(request) == BackRing::Taken::kRequest) {
        ++executed;
        back.Answer({.id = request.id, .reserved = 0, .status = 1, .done = request.u.words[0]});
        if (back.Push()) front_bell.Ring();
      }
      if (executed < kRequests && !back.Arm()) sleep_on(back_bell);
    }
  });
  uint32_t asked = 0;
  uint32_t answered = 0;
  while (answered < kRequests) {
    while (asked < kRequests && !front.full()) {
      if (front.Push(RequestNumber(asked++))) back_bell.Ring();
    }
    tmemif_response response;
    while (front.Take(response) == FrontRing::Taken::kResponse) {
      ASSERT_EQ(response.done, answered);
      ++answered;
    }
    const bool may_ask = asked < kRequests && !front.full();
    if (answered < kRequests && !may_ask && !front.Arm()) sleep_on(front_bell);
  }
  backend.join();
}

}  // namespace
}  // namespace tmem::client
