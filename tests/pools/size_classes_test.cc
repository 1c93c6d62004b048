#include "pools/size_classes.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace tmem {
namespace {

TEST(SizeClasses, SlotSizesRiseInSmallSteps) {
  ASSERT_EQ(SizeClassCount(), 82);
  EXPECT_EQ(SlotSize(0), 16);
  EXPECT_EQ(SlotSize(80), kMaxCompressed);
  EXPECT_EQ(SlotSize(81), kPageSize);
  for (SizeClass c = 1; c < 81; ++c) {
    const size_t step = SlotSize(c) - SlotSize(static_cast<SizeClass>(c - 1));
    EXPECT_GT(step, 0) << int{c};
    // 1/32 is rounded up to the granule of 16 bytes.
    EXPECT_LE(step, std::max<size_t>(16, SlotSize(c) / 32 + 16)) << int{c};
    EXPECT_EQ(SlotSize(c) % 16, 0) << int{c};
  }
}

TEST(SizeClasses, EveryPayloadGoesToTheSmallestClassThatHoldsIt) {
  for (size_t bytes = 1; bytes <= kPageSize; ++bytes) {
    const SizeClass size_class = SizeClassFor(bytes);
    ASSERT_GE(SlotSize(size_class), bytes);
    if (size_class > 0) {
      ASSERT_LT(SlotSize(static_cast<SizeClass>(size_class - 1)), bytes);
    }
  }
}

TEST(SizeClasses, RoundingToSlotsCostsLittle) {
  size_t payload = 0;
  size_t slots = 0;
  for (size_t bytes = 256; bytes <= kMaxCompressed; ++bytes) {
    payload += bytes;
    slots += SlotSize(SizeClassFor(bytes));
  }
  EXPECT_LE(static_cast<double>(slots - payload), 0.02 * static_cast<double>(payload));
}

TEST(SizeClasses, RawSlotsArePageAligned) {
  EXPECT_EQ(SlotSize(SizeClassFor(kPageSize)) % kPageSize, 0);
}

}  // namespace
}  // namespace tmem
