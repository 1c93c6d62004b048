#include "sim/simulation.h"

#include <gtest/gtest.h>

#include "sim/scenario.h"

namespace tmem::sim {
namespace {

// Who comes first could take all that the store has, and would not use most of it often.
Scenario HogAndQuiet() {
  return ParseScenario(
             "capacity 24M\n"
             "guest hog workload=zipf pages=56M resident=8M skew=1 accesses=250000\n"
             "guest quiet count=2 workload=graph pages=10M resident=6M accesses=40000 "
             "start=1\n",
             "test", 1)
      .value();
}

Outcome RunOf(const Scenario& scenario, PolicyKind policy, uint64_t seed = 1) {
  return Simulate(scenario, {.kind = policy}, CostModel{}, seed).value();
}

TEST(Simulation, FollowsFromItsSeed) {
  const Outcome first = RunOf(HogAndQuiet(), PolicyKind::kMaxMin);
  const Outcome again = RunOf(HogAndQuiet(), PolicyKind::kMaxMin);
  ASSERT_EQ(first.guests.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(first.guests[i].run.elapsed, again.guests[i].run.elapsed);
    EXPECT_EQ(first.guests[i].held, again.guests[i].held);
  }
  const Outcome other = RunOf(HogAndQuiet(), PolicyKind::kMaxMin, 2);
  EXPECT_NE(first.guests[1].run.elapsed, other.guests[1].run.elapsed);
}

TEST(Simulation, MaxMinSparesTheWorstGuestAtLittleCost) {
  const Outcome greedy = RunOf(HogAndQuiet(), PolicyKind::kGreedy);
  const Outcome max_min = RunOf(HogAndQuiet(), PolicyKind::kMaxMin);
  EXPECT_GT(greedy.worst_slowdown(), 1.5 * max_min.worst_slowdown());
  EXPECT_LT(max_min.total_slowdown(), 1.05 * greedy.total_slowdown());
  EXPECT_GT(max_min.fairness(), greedy.fairness());
}

TEST(Simulation, NothingIsSlowedDownWhereThereIsEnough) {
  Scenario scenario = HogAndQuiet();
  for (GuestSpec& guest : scenario.guests) guest.resident = guest.workload.pages;
  const Outcome outcome = RunOf(scenario, PolicyKind::kMaxMin);
  EXPECT_DOUBLE_EQ(outcome.total_slowdown(), 1);
  EXPECT_DOUBLE_EQ(outcome.worst_slowdown(), 1);
  EXPECT_DOUBLE_EQ(outcome.fairness(), 1);
}

TEST(Simulation, EndsAfterItsSeconds) {
  Scenario scenario = HogAndQuiet();
  scenario.seconds = 3;
  for (GuestSpec& guest : scenario.guests) guest.workload.accesses = 0;
  const Outcome outcome = RunOf(scenario, PolicyKind::kStatic);
  EXPECT_EQ(outcome.guests[0].held.size(), 2u);
  EXPECT_NEAR(static_cast<double>(outcome.guests[0].run.elapsed), 3e9, 1e7);
}

TEST(Simulation, AStoreTooSmallIsAnError) {
  Scenario scenario = HogAndQuiet();
  scenario.capacity = Bytes(1);
  EXPECT_FALSE(Simulate(scenario, {}, CostModel{}, 1));
}

TEST(Outcome, IsFairIfAllAreSlowedDownAlike) {
  Outcome outcome;
  outcome.guests.push_back({"a", {.elapsed = 20, .ideal = 10}, {}});
  outcome.guests.push_back({"b", {.elapsed = 40, .ideal = 20}, {}});
  EXPECT_DOUBLE_EQ(outcome.fairness(), 1);
  EXPECT_DOUBLE_EQ(outcome.total_slowdown(), 2);
  outcome.guests.push_back({"c", {.elapsed = 1'000'000'000, .ideal = 1}, {}});
  EXPECT_NEAR(outcome.fairness(), 2.0 / 3, 1e-6);
  EXPECT_DOUBLE_EQ(outcome.worst_slowdown(), 1e9);
}

}  // namespace
}  // namespace tmem::sim
