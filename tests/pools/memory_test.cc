#include "pools/memory.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <deque>
#include <memory>
#include <optional>
#include <vector>

namespace tmem {
namespace {

using enum PageClass;

// A claimant that holds segments and gives up the oldest ephemeral one when asked.
class Holder final : public Evictable {
 public:
  Holder(Memory& memory, uint32_t weight, uint32_t reserve)
      : memory_(memory), stake_(memory.Join({.weight = weight, .reserve = reserve})) {}
  ~Holder() override {
    for (const auto page_class : {kEphemeral, kPersistent}) {
      while (GiveBack(page_class)) {
      }
    }
    memory_.Leave(stake_);
  }
  static std::shared_ptr<Holder> Create(Memory& memory, uint32_t weight = 1, uint32_t reserve = 0) {
    auto holder = std::make_shared<Holder>(memory, weight, reserve);
    memory.SetEvictable(holder->stake_, holder);
    return holder;
  }

  bool Take(PageClass page_class) {
    const SegmentId segment = memory_.Take(stake_, page_class);
    if (segment == kNoSegment) return false;
    Held(page_class).push_back(segment);
    return true;
  }
  uint32_t TakeAll(PageClass page_class, uint32_t most = UINT32_MAX) {
    uint32_t taken = 0;
    while (taken < most && Take(page_class)) ++taken;
    return taken;
  }
  bool GiveBack(PageClass page_class) {
    auto& held = Held(page_class);
    if (held.empty()) return false;
    memory_.GiveBack(stake_, page_class, held.front());
    held.pop_front();
    return true;
  }
  bool EvictOldestSegment() override { return !pinned && GiveBack(kEphemeral); }
  std::optional<double> TakeSaved() override { return std::nullopt; }

  uint32_t Count(PageClass page_class) const {
    return static_cast<uint32_t>(held_[static_cast<int>(page_class)].size());
  }
  Memory::StakeId stake() const { return stake_; }

  bool pinned = false;  // all segments have operations under way

 private:
  std::deque<SegmentId>& Held(PageClass page_class) { return held_[static_cast<int>(page_class)]; }

  Memory& memory_;
  const Memory::StakeId stake_;
  std::deque<SegmentId> held_[kPageClasses];
};

class MemoryTest : public testing::Test {
 protected:
  static constexpr uint32_t kMaxSegments = 20;
  static constexpr uint32_t kCapacity = 10;

  std::unique_ptr<Arena> arena_ = *Arena::Create(kMaxSegments);
  // Nobody's persistent pages are refused for the sake of a share.
  Memory memory_{*arena_, kCapacity, {.kind = PolicyKind::kGreedy}};
};

TEST_F(MemoryTest, CountsWhoHoldsWhat) {
  const auto holder = Holder::Create(memory_);
  ASSERT_TRUE(holder->Take(kEphemeral));
  ASSERT_TRUE(holder->Take(kPersistent));
  ASSERT_TRUE(holder->Take(kPersistent));
  EXPECT_EQ(memory_.usage().capacity, kCapacity);
  EXPECT_EQ(memory_.usage().in_use, (std::array<uint32_t, kPageClasses>{1, 2}));
  EXPECT_EQ(memory_.HeldBy(holder->stake()), (std::array<uint32_t, kPageClasses>{1, 2}));
  holder->GiveBack(kPersistent);
  EXPECT_EQ(memory_.HeldBy(holder->stake()), (std::array<uint32_t, kPageClasses>{1, 1}));
}

TEST_F(MemoryTest, EphemeralSegmentsReplaceEachOtherAtTheCapacity) {
  const auto holder = Holder::Create(memory_);
  EXPECT_EQ(holder->TakeAll(kEphemeral, 25), 25);
  EXPECT_EQ(holder->Count(kEphemeral), kCapacity);
  EXPECT_EQ(memory_.usage().evicted, 15);
}

TEST_F(MemoryTest, PersistentSegmentsAreRefusedAtTheCapacity) {
  const auto holder = Holder::Create(memory_);
  EXPECT_EQ(holder->TakeAll(kPersistent), kCapacity);
  EXPECT_EQ(memory_.usage().evicted, 0);
  EXPECT_FALSE(holder->Take(kEphemeral)) << "there is nothing to evict";
}

TEST_F(MemoryTest, EphemeralSegmentsMakeRoomForPersistentOnes) {
  const auto cache = Holder::Create(memory_);
  const auto swap = Holder::Create(memory_);
  EXPECT_EQ(cache->TakeAll(kEphemeral, kCapacity), kCapacity);
  EXPECT_EQ(swap->TakeAll(kPersistent), kCapacity);
  EXPECT_EQ(cache->Count(kEphemeral), 0);
}

TEST_F(MemoryTest, AReserveIsThereWhenItsOwnerComes) {
  const auto owner = Holder::Create(memory_, 1, 4);
  const auto hog = Holder::Create(memory_, 100);
  EXPECT_EQ(hog->TakeAll(kPersistent), 6);
  EXPECT_TRUE(hog->Take(kEphemeral)) << "what is reserved may hold ephemeral pages meanwhile";
  EXPECT_EQ(owner->TakeAll(kPersistent), 4);
  EXPECT_EQ(hog->Count(kPersistent), 6);
}

TEST_F(MemoryTest, ChangesOfReserveAndWeightCountFromNowOn) {
  const auto first = Holder::Create(memory_);
  const auto second = Holder::Create(memory_);
  memory_.Change(first->stake(), {.weight = 1, .reserve = 9});
  EXPECT_EQ(second->TakeAll(kPersistent), 1);
  memory_.Change(first->stake(), {.weight = 1, .reserve = 0});
  second->GiveBack(kPersistent);
  memory_.SetPolicy({.kind = PolicyKind::kMaxMin});
  EXPECT_EQ(first->TakeAll(kEphemeral, 5), 5);
  EXPECT_EQ(second->TakeAll(kEphemeral, 5), 5);
  memory_.Change(first->stake(), {.weight = 4, .reserve = 0});
  EXPECT_EQ(first->TakeAll(kEphemeral, 3), 3);
  EXPECT_EQ(first->Count(kEphemeral), 8);
  EXPECT_EQ(second->Count(kEphemeral), 2);
}

TEST_F(MemoryTest, AStakeThatLeftIsUsedAgainWithoutItsPast) {
  auto gone = Holder::Create(memory_, 50, 5);
  const Memory::StakeId stake = gone->stake();
  gone->TakeAll(kPersistent, 2);
  gone.reset();
  EXPECT_EQ(memory_.usage().in_use, (std::array<uint32_t, kPageClasses>{0, 0}));
  const auto heir = Holder::Create(memory_);
  EXPECT_EQ(heir->stake(), stake);
  EXPECT_EQ(memory_.HeldBy(stake), (std::array<uint32_t, kPageClasses>{0, 0}));
  EXPECT_EQ(heir->TakeAll(kPersistent), kCapacity) << "its reserve is gone, too";
}

// The claimant furthest above its share may have nothing that can be dropped at this moment; the
// search stopped there, and refused although others held ephemeral memory.
TEST_F(MemoryTest, WhoCannotDropAnythingIsPassedOver) {
  const auto busy = Holder::Create(memory_);
  const auto other = Holder::Create(memory_);
  const auto swap = Holder::Create(memory_);
  EXPECT_EQ(other->TakeAll(kEphemeral, 2), 2);
  EXPECT_EQ(busy->TakeAll(kEphemeral, 8), 8);
  busy->pinned = true;
  EXPECT_TRUE(swap->Take(kPersistent));
  EXPECT_EQ(memory_.SetCapacity(9), 9);
  EXPECT_EQ(other->Count(kEphemeral), 0);
  EXPECT_EQ(memory_.SetCapacity(8), 9) << "nobody can drop anything";
}

TEST_F(MemoryTest, WhoGoesAwayIsPassedOver) {
  const auto other = Holder::Create(memory_);
  auto going = std::make_shared<Holder>(memory_, 1, 0);  // not registered: as if it had expired
  EXPECT_EQ(other->TakeAll(kEphemeral, 2), 2);
  EXPECT_EQ(going->TakeAll(kEphemeral, 8), 8);
  EXPECT_TRUE(other->Take(kPersistent));
  EXPECT_EQ(other->Count(kEphemeral), 1);
}

// Of many, by policy: the one furthest above its share, as each search finds it.
TEST_F(MemoryTest, EvictsFromWhoHoldsMostForItsWeight) {
  memory_.SetPolicy({.kind = PolicyKind::kMaxMin});
  const auto light = Holder::Create(memory_, 1);
  const auto heavy = Holder::Create(memory_, 4);
  const auto swap = Holder::Create(memory_, 5);
  EXPECT_EQ(heavy->TakeAll(kEphemeral, 7), 7);
  EXPECT_EQ(light->TakeAll(kEphemeral, 3), 3);
  EXPECT_EQ(swap->TakeAll(kPersistent, 1), 1);
  EXPECT_EQ(light->Count(kEphemeral), 2) << "3/1 is more than 7/4";
  memory_.Change(heavy->stake(), {.weight = 2});
  EXPECT_EQ(swap->TakeAll(kPersistent, 1), 1);
  EXPECT_EQ(heavy->Count(kEphemeral), 6) << "7/2 is more than 2/1";
  memory_.SetPolicy({.kind = PolicyKind::kGreedy});
  EXPECT_EQ(swap->TakeAll(kPersistent, 2), 2);
  EXPECT_EQ(heavy->Count(kEphemeral), 4) << "the oldest, whatever they weigh";
}

// ---- capacity ----

TEST_F(MemoryTest, LoweringTheCapacityEvictsEphemeralSegments) {
  const auto holder = Holder::Create(memory_);
  EXPECT_EQ(holder->TakeAll(kEphemeral, 8), 8);
  EXPECT_EQ(memory_.SetCapacity(9), 9);
  EXPECT_EQ(holder->Count(kEphemeral), 8);
  EXPECT_EQ(memory_.SetCapacity(3), 3);
  EXPECT_EQ(holder->Count(kEphemeral), 3);
  EXPECT_EQ(memory_.usage().relinquished, 5);
  EXPECT_EQ(memory_.usage().evicted, 5);
}

TEST_F(MemoryTest, ALoweredCapacityWaitsForPersistentSegments) {
  const auto holder = Holder::Create(memory_);
  EXPECT_EQ(holder->TakeAll(kPersistent, 6), 6);
  EXPECT_EQ(holder->TakeAll(kEphemeral, 2), 2);
  EXPECT_EQ(memory_.SetCapacity(4), 6);
  EXPECT_EQ(holder->Count(kEphemeral), 0);
  EXPECT_FALSE(holder->Take(kPersistent));
  for (int i = 0; i < 2; ++i) holder->GiveBack(kPersistent);
  EXPECT_FALSE(holder->Take(kPersistent));
  holder->GiveBack(kPersistent);
  EXPECT_TRUE(holder->Take(kPersistent));
}

TEST_F(MemoryTest, RaisingTheCapacityTakesEffectAtOnce) {
  const auto holder = Holder::Create(memory_);
  EXPECT_EQ(memory_.SetCapacity(kMaxSegments), kMaxSegments);
  EXPECT_EQ(holder->TakeAll(kPersistent), kMaxSegments);
}

// Whatever happens, in use is what the holders hold, within the capacity; and what was granted is
// real: no segment is held twice.
RC_GTEST_PROP(Memory, HoldsTheCapacityExactly, ()) {
  constexpr uint32_t kMaxSegments = 12;
  const auto arena = std::move(*Arena::Create(kMaxSegments));
  Memory memory(*arena, 6);
  std::vector<std::shared_ptr<Holder>> holders;
  for (const uint32_t weight : {1u, 2u, 5u}) {
    holders.push_back(Holder::Create(memory, weight, *rc::gen::inRange(0u, 4u)));
  }
  for (const uint32_t step :
       *rc::gen::container<std::vector<uint32_t>>(200, rc::gen::arbitrary<uint32_t>())) {
    Holder& holder = *holders[step / 8 % holders.size()];
    const PageClass page_class = step / 64 % 2 == 0 ? kEphemeral : kPersistent;
    if (step % 8 < 5) {
      holder.Take(page_class);
    } else if (step % 8 < 7) {
      holder.GiveBack(page_class);
    } else {
      const uint32_t capacity = step / 64 % kMaxSegments + 1;
      const uint32_t in_force = memory.SetCapacity(capacity);
      RC_ASSERT(in_force >= capacity);
    }
    uint32_t ephemeral = 0;
    uint32_t persistent = 0;
    for (const auto& one : holders) {
      ephemeral += one->Count(kEphemeral);
      persistent += one->Count(kPersistent);
      RC_ASSERT(
          memory.HeldBy(one->stake()) ==
          (std::array<uint32_t, kPageClasses>{one->Count(kEphemeral), one->Count(kPersistent)}));
    }
    const Memory::Usage usage = memory.usage();
    RC_ASSERT(usage.in_use == (std::array<uint32_t, kPageClasses>{ephemeral, persistent}));
    RC_ASSERT((ephemeral == 0 || ephemeral + persistent <= usage.capacity));
  }
}

}  // namespace
}  // namespace tmem
