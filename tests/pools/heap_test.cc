#include "pools/heap.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <thread>
#include <vector>

#include "pools/page_maker.h"

namespace tmem {
namespace {

using enum PageClass;

constexpr uint32_t kCapacity = 64;

struct Fixture {
  explicit Fixture(PageClass which, uint32_t capacity = kCapacity)
      : memory(*arena, capacity),
        heap(memory, memory.Join(Terms{}), /*owner=*/1, which),
        page_class(which) {}

  std::unique_ptr<Arena> arena = std::move(*Arena::Create(kCapacity));
  Memory memory;
  Heap heap;
  const PageClass page_class;

  uint32_t InUse() const { return memory.usage().in_use[static_cast<int>(page_class)]; }

  // An allocated and published record, as the index would keep it.
  std::optional<Location> Add(size_t bytes) {
    auto slot = heap.Allocate(bytes);
    if (!slot) return std::nullopt;
    const Location location(slot->segment(), slot->slot(), Codec::kLz4, bytes);
    slot->header().state.store(RecordHeader::kLive, std::memory_order_release);
    slot->Publish();
    return location;
  }
  void Free(Location location) {
    heap.HeaderOf(location).state.store(0, std::memory_order_relaxed);
    heap.Free({&location, 1});
  }
};

uint32_t RawSlots() { return SlotsPerSegment(SizeClassFor(kPageSize)); }

TEST(Heap, FillsASegmentBeforeItTakesAnother) {
  Fixture f(kPersistent);
  std::vector<Location> all;
  for (uint32_t i = 0; i < RawSlots(); ++i) all.push_back(*f.Add(kPageSize));
  EXPECT_EQ(f.InUse(), 1);
  all.push_back(*f.Add(kPageSize));
  EXPECT_EQ(f.InUse(), 2);
  f.heap.Free(all);
  EXPECT_EQ(f.InUse(), 0);
  EXPECT_EQ(f.heap.bytes(), 0);
}

TEST(Heap, ASlotThatIsNotPublishedIsFreed) {
  Fixture f(kPersistent);
  {
    auto slot = f.heap.Allocate(100);
    ASSERT_TRUE(slot);
    auto moved = std::move(*slot);
    EXPECT_EQ(f.InUse(), 1);
  }
  EXPECT_EQ(f.InUse(), 0);
}

TEST(Heap, AssigningToASlotFreesTheOneItHeld) {
  Fixture f(kPersistent);
  {
    auto slot = f.heap.Allocate(kPageSize);
    auto other = f.heap.Allocate(kPageSize);
    *slot = std::move(*other);
  }
  EXPECT_EQ(f.InUse(), 0);
}

TEST(Heap, GrowsOnlyWhenAllowed) {
  Fixture f(kEphemeral);
  EXPECT_FALSE(f.heap.Allocate(100, Heap::Growth::kForbidden));
  const Location one = *f.Add(100);
  {
    const auto slot = f.heap.Allocate(100, Heap::Growth::kForbidden);
    EXPECT_TRUE(slot);
  }
  f.Free(one);
}

TEST(Heap, RefusesWhatMemoryRefuses) {
  Fixture f(kPersistent, 2);
  std::vector<Location> all;
  while (const auto location = f.Add(kPageSize)) all.push_back(*location);
  EXPECT_EQ(all.size(), 2 * RawSlots());
  EXPECT_FALSE(f.heap.Allocate(16)) << "a small payload does not waste a page's slot";
  f.Free(all.back());
  EXPECT_TRUE(f.Add(kPageSize)) << "in the slot that was freed";
  f.heap.Free(all);
  EXPECT_EQ(f.InUse(), 0);
}

TEST(Heap, ATinyHeapSharesSegmentsAmongSizesALargeOneDoesNot) {
  Fixture f(kPersistent);
  std::vector<Location> all = {*f.Add(3000)};
  all.push_back(*f.Add(2100));
  EXPECT_EQ(f.InUse(), 1) << "half as large again is good enough";
  all.push_back(*f.Add(1900));
  EXPECT_EQ(f.InUse(), 2);
  f.heap.Free(all);
}

TEST(Heap, PersistentSlotsAreReusedAtOnce) {
  Fixture f(kPersistent);
  std::vector<Location> all;
  for (uint32_t i = 0; i < 2 * RawSlots(); ++i) all.push_back(*f.Add(kPageSize));
  const Location freed = all[3];
  f.Free(freed);
  all[3] = *f.Add(kPageSize);
  EXPECT_TRUE(all[3].SameRecord(Location(freed.segment(), freed.slot(), Codec::kLz4, kPageSize)));
  f.heap.Free(all);
}

TEST(Heap, EphemeralSlotsAreReusedWhenTheirSegmentIsSparse) {
  Fixture f(kEphemeral);
  std::vector<Location> all;
  for (uint32_t i = 0; i < 2 * RawSlots(); ++i) all.push_back(*f.Add(kPageSize));
  const SegmentId old = all.front().segment();
  uint32_t freed = 0;
  while (freed < RawSlots() / 2 - 1) f.Free(all[freed++]);
  const Location elsewhere = *f.Add(kPageSize);
  EXPECT_NE(elsewhere.segment(), old) << "still more than half full";
  f.Free(elsewhere);
  f.Free(all[freed++]);
  all.push_back(*f.Add(kPageSize));
  EXPECT_EQ(all.back().segment(), old);
  f.heap.Free(std::span(all).subspan(freed));
  EXPECT_EQ(f.InUse(), 0);
}

// ---- eviction ----

TEST(Heap, DetachesSegmentsInTheOrderOfTheirAge) {
  Fixture f(kEphemeral);
  std::vector<Location> all;
  for (uint32_t i = 0; i < 3 * RawSlots(); ++i) all.push_back(*f.Add(kPageSize));
  for (int i = 0; i < 3; ++i) {
    const SegmentId segment = f.heap.DetachOldest();
    EXPECT_EQ(segment, all[static_cast<size_t>(i) * RawSlots()].segment());
    EXPECT_EQ(f.heap.SlotsIn(segment), RawSlots());
    f.heap.LetGo(segment);
  }
  EXPECT_EQ(f.heap.DetachOldest(), kNoSegment);
  EXPECT_EQ(f.InUse(), 3) << "their pages are still there";
  f.heap.Free(all);
  EXPECT_EQ(f.InUse(), 0);
}

TEST(Heap, ADetachedSegmentGetsNoNewPagesAndStaysUntilLetGo) {
  Fixture f(kEphemeral);
  const Location first = *f.Add(kPageSize);
  ASSERT_EQ(f.heap.DetachOldest(), first.segment());
  const Location second = *f.Add(kPageSize);
  EXPECT_NE(second.segment(), first.segment());
  f.Free(first);
  EXPECT_EQ(f.InUse(), 2);
  f.heap.LetGo(first.segment());
  EXPECT_EQ(f.InUse(), 1);
  f.Free(second);
}

TEST(Heap, ASegmentWithASlotInTheMakingIsNotEvicted) {
  Fixture f(kEphemeral);
  const Location first = *f.Add(kPageSize);
  auto slot = f.heap.Allocate(kPageSize);
  ASSERT_EQ(slot->segment(), first.segment());
  EXPECT_EQ(f.heap.DetachOldest(), kNoSegment);
  slot.reset();
  EXPECT_EQ(f.heap.DetachOldest(), first.segment());
  f.heap.LetGo(first.segment());
  f.Free(first);
}

TEST(Heap, ARefilledSegmentIsYoungAgain) {
  Fixture f(kEphemeral);
  std::vector<Location> all;
  for (uint32_t i = 0; i < 2 * RawSlots(); ++i) all.push_back(*f.Add(kPageSize));
  const SegmentId old = all.front().segment();
  const SegmentId young = all.back().segment();
  for (uint32_t i = 0; i < RawSlots() / 2; ++i) f.Free(all[i]);
  EXPECT_EQ(f.heap.DetachOldest(), young);
  EXPECT_EQ(f.heap.DetachOldest(), old);
  f.heap.LetGo(young);
  f.heap.LetGo(old);
  f.heap.Free(std::span(all).subspan(RawSlots() / 2));
}

// ---- sparse segments ----

// Segments that are full but for so many slots each.
std::vector<std::vector<Location>> FullBut(Fixture& f, const std::vector<uint32_t>& free) {
  std::vector<std::vector<Location>> segments(free.size());
  for (auto& segment : segments) {
    for (uint32_t i = 0; i < RawSlots(); ++i) segment.push_back(*f.Add(kPageSize));
  }
  for (size_t i = 0; i < free.size(); ++i) {
    for (uint32_t n = 0; n < free[i]; ++n) {
      f.Free(segments[i].back());
      segments[i].pop_back();
    }
  }
  return segments;
}

void FreeAll(Fixture& f, const std::vector<std::vector<Location>>& segments) {
  for (const auto& segment : segments) f.heap.Free(segment);
  EXPECT_EQ(f.InUse(), 0);
}

TEST(Heap, DetachesTheSparsestSegmentWhosePagesFitElsewhere) {
  Fixture f(kPersistent);
  auto segments = FullBut(f, {100, RawSlots() - 120, 19});
  EXPECT_EQ(f.heap.DetachSparsest(), kNoSegment) << "one slot is missing";
  f.Free(segments[2].back());
  segments[2].pop_back();
  const SegmentId sparse = f.heap.DetachSparsest();
  EXPECT_EQ(sparse, segments[1].front().segment());
  EXPECT_EQ(f.heap.DetachSparsest(), kNoSegment) << "120 slots are free in the others";
  for (int i = 0; i < 120; ++i) {
    const auto location = f.Add(kPageSize);
    ASSERT_TRUE(location);
    EXPECT_NE(location->segment(), sparse);
    segments[0].push_back(*location);
  }
  EXPECT_FALSE(f.heap.Allocate(kPageSize, Heap::Growth::kForbidden));
  f.heap.Free(segments[1]);
  segments[1].clear();
  EXPECT_EQ(f.InUse(), 3) << "until it is let go";
  f.heap.LetGo(sparse);
  EXPECT_EQ(f.InUse(), 2);
  FreeAll(f, segments);
}

TEST(Heap, ASparseSegmentWithPagesLeftTakesPartAgain) {
  Fixture f(kPersistent);
  auto segments = FullBut(f, {RawSlots() - 3, 3});
  const SegmentId sparse = f.heap.DetachSparsest();
  EXPECT_EQ(sparse, segments[0].front().segment());
  f.Free(segments[0].back());
  segments[0].pop_back();
  f.heap.LetGo(sparse);
  EXPECT_EQ(f.InUse(), 2);
  EXPECT_EQ(f.heap.DetachSparsest(), sparse) << "one more slot is free";
  f.heap.LetGo(sparse);
  for (uint32_t i = 0; i < RawSlots() + 1; ++i) {
    const auto location = f.Add(kPageSize);
    ASSERT_TRUE(location);
    segments[1].push_back(*location);
  }
  EXPECT_EQ(f.InUse(), 2);
  FreeAll(f, segments);
}

// However many there are, only some are looked at: the one that was let go last among them.
TEST(Heap, GoesOnWithTheSegmentThatItLetGo) {
  constexpr uint32_t kSegments = 3 * Heap::kLooks;
  Fixture f(kPersistent, kSegments);
  auto segments = FullBut(f, std::vector<uint32_t>(kSegments, RawSlots() / 2));
  const SegmentId sparse = f.heap.DetachSparsest();
  ASSERT_NE(sparse, kNoSegment);
  f.heap.LetGo(sparse);
  EXPECT_EQ(f.heap.DetachSparsest(), sparse) << "none is sparser";
  f.heap.LetGo(sparse);
  FreeAll(f, segments);
}

TEST(Heap, TellsUsedSlotsOfADetachedSegment) {
  Fixture f(kPersistent);
  auto segments = FullBut(f, {RawSlots() - 70, 70});
  const SegmentId sparse = f.heap.DetachSparsest();
  ASSERT_EQ(sparse, segments[0].front().segment());
  std::array<uint32_t, 100> slots;
  ASSERT_EQ(f.heap.UsedSlots(sparse, slots), 70);
  std::set<uint32_t> expected;
  for (const Location location : segments[0]) expected.insert(location.slot());
  EXPECT_EQ(std::set<uint32_t>(slots.begin(), slots.begin() + 70), expected);
  EXPECT_EQ(f.heap.UsedSlots(sparse, std::span(slots).first(5)), 5);
  f.heap.LetGo(sparse);
  FreeAll(f, segments);
}

TEST(Heap, ASegmentThatHadAnotherOwnerShowsNoLiveRecords) {
  Fixture f(kEphemeral, 1);
  const Location raw = *f.Add(kPageSize);
  Location copy = raw;
  f.heap.Free({&copy, 1});  // its header still says live, as a crash might leave it
  const Location small = *f.Add(16);
  ASSERT_EQ(small.segment(), raw.segment());
  for (uint32_t slot = 0; slot < f.heap.SlotsIn(small.segment()); ++slot) {
    const bool live = f.heap.HeaderIn(small.segment(), slot).state.load() != 0;
    ASSERT_EQ(live, slot == small.slot());
  }
  f.Free(small);
}

// ---- the model: slots never overlap, all memory comes back ----

struct Range {
  const std::byte* end;
  Location location;
  uint64_t seed;
};

class HeapModel {
 public:
  explicit HeapModel(PageClass page_class) : f_(page_class) {}

  void Add(size_t bytes, uint64_t seed) {
    const uint32_t before = f_.InUse();
    const auto location = f_.Add(bytes);
    if (!location) {
      RC_ASSERT(before == kCapacity);
      return;
    }
    std::byte* const begin = f_.heap.PayloadOf(*location);
    FillPage(PageLook::kRandom, seed, page_);
    std::memcpy(begin, page_.data(), bytes);
    RecordHeader& header = f_.heap.HeaderOf(*location);
    header.index = static_cast<uint32_t>(seed);
    Claim(begin, begin + bytes, *location, seed);
    const auto* const head = reinterpret_cast<const std::byte*>(&header);
    Claim(head, head + sizeof(header), Location(), seed);
  }
  void FreeOne(size_t choice) {
    if (records_.empty()) return;
    const size_t at = choice % records_.size();
    const Location location = records_[at];
    records_[at] = records_.back();
    records_.pop_back();
    Check(location);
    f_.Free(location);
  }
  void FreeAll() {
    while (!records_.empty()) FreeOne(records_.size() - 1);
    RC_ASSERT(f_.InUse() == 0u);
    RC_ASSERT(f_.heap.bytes() == 0u);
  }

 private:
  void Claim(const std::byte* begin, const std::byte* end, Location location, uint64_t seed) {
    const auto after = ranges_.lower_bound(begin);
    RC_ASSERT((after == ranges_.end() || end <= after->first));
    RC_ASSERT((after == ranges_.begin() || std::prev(after)->second.end <= begin));
    ranges_.emplace_hint(after, begin, Range{end, location, seed});
    if (location) records_.push_back(location);
  }
  void Check(Location location) {
    const std::byte* const begin = f_.heap.PayloadOf(location);
    const RecordHeader& header = f_.heap.HeaderOf(location);
    const auto at = ranges_.find(begin);
    RC_ASSERT(at != ranges_.end());
    FillPage(PageLook::kRandom, at->second.seed, page_);
    RC_ASSERT(std::memcmp(begin, page_.data(), location.length()) == 0);
    RC_ASSERT(header.index == static_cast<uint32_t>(at->second.seed));
    ranges_.erase(at);
    RC_ASSERT(ranges_.erase(reinterpret_cast<const std::byte*>(&header)) == 1u);
  }

  Fixture f_;
  Page page_;
  std::map<const std::byte*, Range> ranges_;  // payloads and headers, by where they begin
  std::vector<Location> records_;
};

void RunModel(PageClass page_class) {
  HeapModel model(page_class);
  const auto sizes = *rc::gen::container<std::vector<size_t>>(
      4, rc::gen::oneOf(rc::gen::inRange<size_t>(1, kPageSize + 1),
                        rc::gen::element<size_t>(1, 8, 16, kMaxCompressed, kPageSize)));
  const auto steps =
      *rc::gen::container<std::vector<uint32_t>>(2000, rc::gen::arbitrary<uint32_t>());
  const auto phase = *rc::gen::inRange<size_t>(1, 500);
  uint64_t seed = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    const bool shrinking = i / phase % 2 == 1;
    if (steps[i] % 4 == 0 || (shrinking && steps[i] % 4 != 1)) {
      model.FreeOne(steps[i] / 4);
    } else {
      model.Add(sizes[steps[i] / 4 % sizes.size()], ++seed);
    }
  }
  model.FreeAll();
}

RC_GTEST_PROP(Heap, PersistentSlotsNeverOverlapAndAllComeBack, ()) { RunModel(kPersistent); }
RC_GTEST_PROP(Heap, EphemeralSlotsNeverOverlapAndAllComeBack, ()) { RunModel(kEphemeral); }

TEST(Heap, ThreadsMayAllocateAndFreeAtOnce) {
  Fixture f(kPersistent);
  const auto work = [&f](uint64_t seed) {
    std::vector<Location> mine;
    for (int i = 0; i < 5'000; ++i) {
      seed = Mix(seed);
      if (seed % 2 == 0 || mine.empty()) {
        const auto location = f.Add(seed / 2 % kPageSize + 1);
        if (!location) continue;
        std::memset(f.heap.PayloadOf(*location), static_cast<int>(location->slot() & 0xff),
                    location->length());
        mine.push_back(*location);
      } else {
        std::swap(mine[seed / 2 % mine.size()], mine.back());
        const Location location = mine.back();
        const std::byte* const payload = f.heap.PayloadOf(location);
        ASSERT_TRUE(std::all_of(payload, payload + location.length(), [&](std::byte b) {
          return b == static_cast<std::byte>(location.slot() & 0xff);
        }));
        f.Free(location);
        mine.pop_back();
      }
    }
    f.heap.Free(mine);
  };
  {
    std::jthread first(work, 1);
    std::jthread second(work, 2);
    std::jthread third(work, 3);
  }
  EXPECT_EQ(f.InUse(), 0);
}

}  // namespace
}  // namespace tmem
