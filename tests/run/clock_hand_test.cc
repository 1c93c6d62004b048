#include "run/clock_hand.h"

#include <gtest/gtest.h>

namespace tmem::run {
namespace {

class ClockHandTest : public ::testing::Test {
 protected:
  void MakeResident(uint32_t page, uint32_t credit) {
    PageEntry& entry = table_.Touch(page);
    entry.state = PageState::kDirty;
    entry.credit = credit;
  }
  void Leave(PageRun run) {
    for (uint32_t page = run.first; page < run.end(); ++page) {
      table_.Touch(page).state = PageState::kEvicted;
    }
  }

  PageTable table_{100};
  ClockHand hand_{table_};
};

TEST_F(ClockHandTest, FindsNothingInAnEmptyArena) { EXPECT_FALSE(hand_.Next(8)); }

TEST_F(ClockHandTest, TakesNeighboursTogether) {
  for (uint32_t page = 10; page < 20; ++page) MakeResident(page, 0);
  EXPECT_EQ(hand_.Next(8), (PageRun{10, 8}));
  EXPECT_EQ(hand_.Next(8), (PageRun{18, 2}));
}

TEST_F(ClockHandTest, GrantsALapForEachCredit) {
  MakeResident(1, 0);
  MakeResident(2, 1);
  MakeResident(3, 2);
  for (const uint32_t expected : {1u, 2u, 3u}) {
    const auto victim = hand_.Next(8);
    ASSERT_EQ(victim, (PageRun{expected, 1}));
    Leave(*victim);
  }
  EXPECT_FALSE(hand_.Next(8));
}

TEST_F(ClockHandTest, LeavesPinnedAndAbsentPagesAlone) {
  MakeResident(1, 0);
  table_.Touch(1).pinned = 1;
  table_.Touch(2).state = PageState::kEvicted;
  EXPECT_FALSE(hand_.Next(8));
  MakeResident(3, PageEntry::kMaxCredit);
  EXPECT_EQ(hand_.Next(8), (PageRun{3, 1}));
}

}  // namespace
}  // namespace tmem::run
