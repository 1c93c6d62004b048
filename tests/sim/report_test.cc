#include "sim/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace tmem::sim {
namespace {

using testing::HasSubstr;

std::vector<NamedOutcome> TwoPolicies() {
  Outcome outcome;
  for (int i = 0; i < 10; ++i) {
    outcome.guests.push_back({"g" + std::to_string(i),
                              {.disk_reads = 7, .elapsed = 30, .ideal = 10},
                              {MiB(1), MiB(2), MiB(3)}});
  }
  Outcome other = outcome;
  other.convergence = 2;
  other.swing = 0.05;
  return {{"greedy", outcome}, {"max-min", other}};
}

TEST(Report, HasALineAPolicy) {
  const std::string table = PolicyTable(TwoPolicies());
  EXPECT_THAT(table, HasSubstr("greedy                 3.00     3.00    1.000       no       -"));
  EXPECT_THAT(table, HasSubstr("max-min                3.00     3.00    1.000      2 s      5%"));
  EXPECT_THAT(table, HasSubstr(" 70\n"));
}

TEST(Report, ComparesMaxMinWithGreedyAndUtilityWithTheBestSplit) {
  auto outcomes = TwoPolicies();
  EXPECT_EQ(Comparison(outcomes),
            "max-min beside greedy: the worst guest 1.00 times better off, all together +0%\n");
  for (auto& guest : outcomes[1].outcome.guests) guest.run.elapsed = 15;
  EXPECT_EQ(Comparison(outcomes),
            "max-min beside greedy: the worst guest 2.00 times better off, all together -50%\n");
  outcomes[0].name = "utility";
  outcomes[1].name = kBestSplit;
  EXPECT_EQ(Comparison(outcomes), "utility beside the best fixed division: all together +100%\n");
  EXPECT_EQ(Comparison(std::span(outcomes).first(1)), "");
}

TEST(Report, HasALineAGuest) {
  const std::string table = GuestTable(TwoPolicies());
  EXPECT_EQ(std::ranges::count(table, '\n'), 11);
  EXPECT_THAT(table, HasSubstr("g9                        3.00        3.00\n"));
}

TEST(Report, PlotsAPanelAPolicyAndTheManyAsOne) {
  const std::string plot = Plot(TwoPolicies(), MiB(64));
  EXPECT_TRUE(plot.starts_with("<svg "));
  EXPECT_TRUE(plot.ends_with("</svg>\n"));
  EXPECT_THAT(plot, HasSubstr("max-min: total slowdown 3.00"));
  EXPECT_THAT(plot, HasSubstr("g7 3.00x"));
  EXPECT_THAT(plot, HasSubstr("2 others"));
  EXPECT_THAT(plot, testing::Not(HasSubstr("nan")));
}

TEST(Report, PlotsWhatLastedNoSecond) {
  Outcome outcome;
  outcome.guests.push_back({"g", {}, {}});
  const std::vector<NamedOutcome> one = {{"static", outcome}};
  EXPECT_THAT(Plot(one, MiB(1)), testing::Not(HasSubstr("nan")));
}

}  // namespace
}  // namespace tmem::sim
