#include "pools/arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

namespace tmem {
namespace {

std::unique_ptr<Arena> MakeArena(uint32_t segments) {
  auto arena = Arena::Create(segments);
  EXPECT_TRUE(arena);
  return std::move(*arena);
}

std::vector<SegmentId> TakeAll(Arena& arena) {
  std::vector<SegmentId> taken;
  for (SegmentId s; (s = arena.Take()) != kNoSegment;) taken.push_back(s);
  return taken;
}

bool IsZero(const Arena& arena, SegmentId segment) {
  const std::byte* const base = arena.BaseOf(segment);
  return std::all_of(base, base + kSegmentSize, [](std::byte b) { return b == std::byte{0}; });
}

TEST(Arena, HandsOutEachSegmentOnceLowOnesFirst) {
  const auto arena = MakeArena(5);
  EXPECT_EQ(arena->max_segments(), 5);
  EXPECT_EQ(TakeAll(*arena), (std::vector<SegmentId>{0, 1, 2, 3, 4}));
  arena->GiveBack(3);
  arena->GiveBack(1);
  EXPECT_EQ(TakeAll(*arena), (std::vector<SegmentId>{1, 3}));
}

TEST(Arena, SegmentsAreMemoryOfTheirOwn) {
  const auto arena = MakeArena(3);
  for (const SegmentId s : TakeAll(*arena)) {
    std::memset(arena->BaseOf(s), static_cast<int>(s + 1), kSegmentSize);
  }
  for (SegmentId s = 0; s < 3; ++s) {
    EXPECT_EQ(arena->BaseOf(s)[0], std::byte(s + 1));
    EXPECT_EQ(arena->BaseOf(s)[kSegmentSize - 1], std::byte(s + 1));
  }
}

TEST(Arena, KeepsAFewSegmentsWarmAndReturnsTheRest) {
  constexpr uint32_t kSegments = Arena::kWarmSegments + 8;
  const auto arena = MakeArena(kSegments);
  for (const SegmentId s : TakeAll(*arena)) arena->BaseOf(s)[7] = std::byte{1};
  for (SegmentId s = 0; s < kSegments; ++s) arena->GiveBack(s);

  const auto all = TakeAll(*arena);
  ASSERT_EQ(all.size(), kSegments);
  const auto cold = std::ranges::count_if(all, [&](SegmentId s) { return IsZero(*arena, s); });
  EXPECT_EQ(cold, 8);
  for (const SegmentId s : all) arena->GiveBack(s);
  arena->ReleaseWarm();
  for (const SegmentId s : TakeAll(*arena)) EXPECT_TRUE(IsZero(*arena, s)) << s;
}

// A segment whose memory was on its way back to the system could not be taken, so that a taker to
// whom it had been granted found none.
TEST(Arena, ReleasingMemoryNeverHidesASegmentFromTakers) {
  constexpr uint32_t kSegments = 8;
  constexpr int kRounds = 3'000;
  const auto arena = MakeArena(kSegments);
  std::atomic<bool> done{false};
  std::jthread releaser([&] {
    while (!done.load()) arena->ReleaseWarm();
  });
  std::jthread other_releaser([&] {
    while (!done.load()) arena->ReleaseWarm();
  });
  for (int round = 0; round < kRounds; ++round) {
    const auto taken = TakeAll(*arena);
    EXPECT_EQ(taken.size(), kSegments);
    for (const SegmentId s : taken) arena->BaseOf(s)[0] = std::byte{1};
    for (const SegmentId s : taken) arena->GiveBack(s);
  }
  done.store(true);
}

TEST(Arena, ARangeThatCannotBeReservedIsAnError) {
  const auto arena = Arena::Create(1u << 30);  // a pebibyte
  ASSERT_FALSE(arena);
  EXPECT_EQ(arena.error().code, ErrorCode::kExhausted);
  EXPECT_NE(arena.error().message.find("address space"), std::string::npos);
}

}  // namespace
}  // namespace tmem
