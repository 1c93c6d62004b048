#include "daemon/history.h"

#include <gtest/gtest.h>

#include <vector>

#include "daemon/manual_clock.h"

namespace tmem::daemon {
namespace {

using std::chrono::seconds;

class HistoryTest : public testing::Test {
 protected:
  HistoryTest() { stats_.id = {7}; }

  void Look() { history_.Note(std::vector{stats_}, clock_.Now()); }
  // One look a second, as the daemon does it.
  void Pass(int count) {
    for (int i = 0; i < count; ++i) {
      clock_.Advance(seconds(1));
      Look();
    }
  }
  std::vector<History::Sample> Samples() const { return history_.Of(stats_, clock_.Now()); }

  ManualClock clock_;
  GuestStats stats_;
  History history_;
};

TEST_F(HistoryTest, NobodyHasNoHistory) { EXPECT_TRUE(Samples().empty()); }

TEST_F(HistoryTest, WhatAGuestDidStandsInItsInterval) {
  Look();
  stats_.counters.puts = 20;
  stats_.counters.puts_no_memory = 3;
  stats_.counters.puts_frozen = 2;
  Pass(10);
  stats_.counters.puts = 50;
  stats_.counters.gets = 8;
  stats_.counters.gets_found = 6;
  stats_.counters.evicted = 4;
  stats_.charged = MiB(3);
  stats_.stored[static_cast<size_t>(PageClass::kEphemeral)].pages = 9;
  stats_.stored[static_cast<size_t>(PageClass::kPersistent)].pages = 11;
  Pass(10);
  const auto samples = Samples();
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(samples[0].puts, 20u);
  EXPECT_EQ(samples[0].puts_refused, 5u);
  EXPECT_EQ(samples[0].gets, 0u);
  EXPECT_EQ(samples[0].seconds, 10);
  EXPECT_EQ(samples[1].puts, 30u);
  EXPECT_EQ(samples[1].puts_refused, 0u);
  EXPECT_EQ(samples[1].gets, 8u);
  EXPECT_EQ(samples[1].gets_found, 6u);
  EXPECT_EQ(samples[1].evicted, 4u);
  EXPECT_EQ(samples[1].used_bytes, MiB(3).value);
  EXPECT_EQ(samples[1].ephemeral_pages, 9u);
  EXPECT_EQ(samples[1].persistent_pages, 11u);
}

TEST_F(HistoryTest, WhatCameBeforeTheFirstLookIsNotLost) {
  stats_.counters.puts = 20;
  Look();
  Pass(10);
  EXPECT_EQ(Samples().front().puts, 20u);
}

TEST_F(HistoryTest, TheIntervalUnderWayIsTheLastSample) {
  Look();
  Pass(10);
  stats_.counters.gets = 5;
  clock_.Advance(std::chrono::milliseconds(2500));
  const auto samples = Samples();
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(samples[1].gets, 5u);
  EXPECT_EQ(samples[1].seconds, 2.5);
  EXPECT_EQ(Samples().size(), 2u) << "to look at it does not end it";
}

TEST_F(HistoryTest, ALateLookMakesALongInterval) {
  Look();
  clock_.Advance(seconds(47));
  Look();
  ASSERT_EQ(Samples().size(), 1u);
  EXPECT_EQ(Samples()[0].seconds, 47);
}

TEST_F(HistoryTest, AnHourIsKept) {
  Look();
  for (uint64_t i = 1; i <= History::kSamples + 5; ++i) {
    stats_.counters.puts += i;
    Pass(10);
  }
  const auto samples = Samples();
  ASSERT_EQ(samples.size(), History::kSamples);
  EXPECT_EQ(samples.front().puts, 6u);
  EXPECT_EQ(samples.back().puts, History::kSamples + 5);
}

TEST_F(HistoryTest, FiguresThatDoNotFitAreAtTheirLimit) {
  Look();
  stats_.counters.puts = UINT64_MAX;
  Pass(10);
  EXPECT_EQ(Samples()[0].puts, UINT32_MAX);
  stats_.counters.puts = 0;  // a snapshot that is behind
  Pass(10);
  EXPECT_EQ(Samples()[1].puts, 0u);
}

TEST_F(HistoryTest, AGuestThatWentIsForgotten) {
  Look();
  Pass(10);
  history_.Forget({7});
  EXPECT_TRUE(Samples().empty());
  stats_.counters.puts = 1;
  Look();
  Pass(10);
  EXPECT_EQ(Samples()[0].puts, 1u);
}

}  // namespace
}  // namespace tmem::daemon
