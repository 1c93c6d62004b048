#include "run/range_allocator.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <vector>

namespace tmem::run {
namespace {

TEST(RangeAllocator, GivesTheLowestAddressThatFits) {
  RangeAllocator ranges({10, 100});
  EXPECT_EQ(ranges.Allocate(20), 10u);
  EXPECT_EQ(ranges.Allocate(20), 30u);
  EXPECT_TRUE(ranges.Free({10, 20}).empty());
  EXPECT_EQ(ranges.Allocate(21), 50u);
  EXPECT_EQ(ranges.Allocate(5), 10u);
}

TEST(RangeAllocator, AlignsToTheArenasStart) {
  RangeAllocator ranges({1, 100});
  EXPECT_EQ(ranges.Allocate(8, 16), 16u);
  EXPECT_EQ(ranges.Allocate(15), 1u) << "what alignment skipped stays free";
  EXPECT_EQ(ranges.Allocate(8, 64), 64u);
  EXPECT_FALSE(ranges.Allocate(8, 128));
}

TEST(RangeAllocator, RefusesWhatDoesNotFit) {
  RangeAllocator ranges({0, 10});
  EXPECT_FALSE(ranges.Allocate(11));
  EXPECT_TRUE(ranges.Allocate(10));
  EXPECT_FALSE(ranges.Allocate(1));
}

TEST(RangeAllocator, ExtendsIntoFreeSpaceOnly) {
  RangeAllocator ranges({0, 30});
  ASSERT_EQ(ranges.Allocate(10), 0u);
  ASSERT_EQ(ranges.Allocate(10), 10u);
  EXPECT_FALSE(ranges.Extend({0, 10}, 1));
  EXPECT_FALSE(ranges.Extend({10, 10}, 11));
  EXPECT_TRUE(ranges.Extend({10, 10}, 4));
  EXPECT_EQ(ranges.Allocate(6), 24u);
}

TEST(RangeAllocator, NeverGivesOutRetiredPagesAgain) {
  RangeAllocator ranges({0, 30});
  ASSERT_EQ(ranges.Allocate(30), 0u);
  ranges.Retire({5, 3});
  ranges.Retire({20, 4});
  const std::vector<PageRun> kept = ranges.Free({6, 20});
  EXPECT_EQ(kept, (std::vector<PageRun>{{6, 2}, {20, 4}}));
  EXPECT_EQ(ranges.Allocate(12), 8u);
  EXPECT_EQ(ranges.Allocate(2), 24u);
  EXPECT_FALSE(ranges.Allocate(1));
}

// Against a plain map of which page is whose.
RC_GTEST_PROP(RangeAllocator, NeverGivesOutAPageTwice, ()) {
  constexpr uint32_t kPages = 200;
  RangeAllocator ranges({0, kPages});
  std::vector<bool> used(kPages);
  std::vector<PageRun> pieces;
  const auto steps = *rc::gen::container<std::vector<uint32_t>>(rc::gen::inRange(0u, 1u << 20));
  for (const uint32_t step : steps) {
    if (step % 2 == 0 || pieces.empty()) {
      const uint32_t count = 1 + step / 2 % 30;
      const auto first = ranges.Allocate(count, 1u << (step / 64 % 4));
      if (!first) continue;
      for (uint32_t page = *first; page < *first + count; ++page) {
        RC_ASSERT(!used.at(page));
        used[page] = true;
      }
      pieces.push_back({*first, count});
      continue;
    }
    // Gives back the whole piece, or its second half.
    PageRun& piece = pieces[step / 2 % pieces.size()];
    const uint32_t from = step / 512 % 2 == 0 ? 0 : piece.count / 2;
    for (uint32_t page = piece.first + from; page < piece.end(); ++page) used[page] = false;
    RC_ASSERT(ranges.Free({piece.first + from, piece.count - from}).empty());
    piece.count = from;
    std::erase_if(pieces, [](const PageRun& run) { return run.count == 0; });
  }
  for (const PageRun& piece : pieces) RC_ASSERT(ranges.Free(piece).empty());
  RC_ASSERT(ranges.Allocate(kPages) == 0u);
}

}  // namespace
}  // namespace tmem::run
