#include "pools/backlog.h"

#include <gtest/gtest.h>

namespace tmem {
namespace {

TEST(Backlog, GivesBackInOrderAndTakesNoMoreThanItHolds) {
  Backlog backlog;
  EXPECT_FALSE(backlog.Take());
  uint32_t next_in = 0;
  uint32_t next_out = 0;
  // Three times full, and half empty again.
  for (int round = 0; round < 3; ++round) {
    while (!backlog.full()) backlog.Add({.object = next_in * 7, .index = next_in++});
    EXPECT_EQ(backlog.size(), Backlog::kMost);
    backlog.Add({.object = 0, .index = UINT32_MAX});
    EXPECT_EQ(backlog.size(), Backlog::kMost);
    for (uint32_t i = 0; i < Backlog::kMost / 2; ++i, ++next_out) {
      const auto page = backlog.Take();
      ASSERT_TRUE(page);
      ASSERT_EQ(page->index, next_out);
      ASSERT_EQ(page->object, next_out * 7);
    }
  }
  for (; next_out < next_in; ++next_out) ASSERT_EQ(backlog.Take()->index, next_out);
  EXPECT_FALSE(backlog.Take());
  EXPECT_FALSE(backlog.full());
}

}  // namespace
}  // namespace tmem
