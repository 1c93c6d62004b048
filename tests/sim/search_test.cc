#include "sim/search.h"

#include <gtest/gtest.h>

#include "sim/scenario.h"

namespace tmem::sim {
namespace {

TEST(Search, FindsWhoGainsByMemory) {
  const auto scenario = ParseScenario(
      "capacity 16M\nseconds 2\n"
      "guest gains workload=zipf memory=file pages=12M resident=1M\n"
      "guest scans workload=scan memory=file pages=512M resident=1M\n",
      "test", 1);
  const auto best = FindBestSplit(*scenario, CostModel{}, 1);
  ASSERT_TRUE(best);
  EXPECT_GT(best->runs, 2);
  ASSERT_EQ(best->parts.size(), 2u);
  EXPECT_GT(best->parts[0], 0.6);
  EXPECT_NEAR(best->parts[0] + best->parts[1], 1, 1e-9);
  const Outcome equal = Simulate(*scenario, {.kind = PolicyKind::kStatic}, CostModel{}, 1).value();
  EXPECT_LT(best->outcome.total_slowdown(), equal.total_slowdown());
}

TEST(Search, GuestsOfAKindShareItsPart) {
  const auto scenario = ParseScenario(
      "capacity 16M\nseconds 1\n"
      "guest gains count=9 workload=zipf memory=file pages=3M resident=1M\n"
      "guest scans workload=scan memory=file pages=512M resident=1M\n",
      "test", 1);
  const auto best = FindBestSplit(*scenario, CostModel{}, 1);
  ASSERT_TRUE(best);
  ASSERT_EQ(best->parts.size(), 10u);
  EXPECT_GT(best->parts[0], 0.1);
  EXPECT_LT(best->parts[9], 0.1);
  for (size_t i = 1; i < 9; ++i) EXPECT_EQ(best->parts[i], best->parts[0]);
}

TEST(Search, RefusesWhatWouldTakeForever) {
  Scenario scenario;
  scenario.guests.resize(kMaxKindsToSearch + 1);
  for (size_t i = 0; i < scenario.guests.size(); ++i) scenario.guests[i].kind = i;
  EXPECT_FALSE(FindBestSplit(scenario, CostModel{}, 1));
}

}  // namespace
}  // namespace tmem::sim
