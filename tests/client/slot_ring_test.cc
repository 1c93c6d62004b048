#include "client/slot_ring.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <deque>
#include <set>

namespace tmem::client {
namespace {

TEST(SlotRingTest, HasRoomForEverythingWhenNothingIsTaken) {
  EXPECT_TRUE(rc::check("an empty ring fits any run", [] {
    const uint32_t slots = *rc::gen::inRange(1u, 65u);
    SlotRing ring(slots);
    for (int i = 0; i < 10; ++i) {
      const uint32_t count = *rc::gen::inRange(1u, slots + 1);
      RC_ASSERT(ring.Fits(count));
      const SlotRing::Run run = ring.Take(count);
      RC_ASSERT(run.first + count <= slots);
      ring.Release(run.taken);
      RC_ASSERT(ring.used() == 0u);
    }
  }));
}

TEST(SlotRingTest, NeverHandsASlotOutTwice) {
  EXPECT_TRUE(rc::check("runs are disjoint, and wasted room is bounded", [] {
    const uint32_t slots = *rc::gen::inRange(1u, 65u);
    SlotRing ring(slots);
    struct Taken {
      SlotRing::Run run;
      uint32_t count;
    };
    std::deque<Taken> taken;
    const int steps = *rc::gen::inRange(1, 200);
    for (int i = 0; i < steps; ++i) {
      const uint32_t count = *rc::gen::inRange(1u, slots + 1);
      if (ring.Fits(count)) {
        taken.push_back({ring.Take(count), count});
      } else {
        RC_ASSERT(!taken.empty());
        ring.Release(taken.front().run.taken);
        taken.pop_front();
      }
      std::set<uint32_t> used;
      uint32_t cost = 0;
      for (const Taken& t : taken) {
        for (uint32_t k = 0; k < t.count; ++k) {
          RC_ASSERT(t.run.first + k < slots);
          RC_ASSERT(used.insert(t.run.first + k).second);
        }
        cost += t.run.taken;
      }
      RC_ASSERT(ring.used() == cost);
      RC_ASSERT(cost <= slots);
      // One that fits nowhere now fits once enough is released: single slots always do.
      if (taken.empty() || used.size() == cost) RC_ASSERT(ring.Fits(1) == (cost < slots));
    }
  }));
}

TEST(SlotRingTest, SkipsAnEndThatIsTooShort) {
  SlotRing ring(8);
  const auto first = ring.Take(6);
  EXPECT_EQ(first.first, 0u);
  EXPECT_FALSE(ring.Fits(3));
  EXPECT_TRUE(ring.Fits(2));
  const auto second = ring.Take(1);
  EXPECT_EQ(second.first, 6u);
  ring.Release(first.taken);
  const auto third = ring.Take(2);  // one slot is left at the end
  EXPECT_EQ(third.first, 0u);
  EXPECT_EQ(third.taken, 3u);
  ring.Release(second.taken);
  ring.Release(third.taken);
  EXPECT_EQ(ring.used(), 0u);
}

}  // namespace
}  // namespace tmem::client
