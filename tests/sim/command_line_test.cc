#include "sim/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <variant>
#include <vector>

namespace tmem::sim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::variant<Order, Reply> Parse(std::vector<const char*> words) {
  words.insert(words.begin(), "tmem-sim");
  return ParseCommandLine(static_cast<int>(words.size()), words.data());
}

std::string Fault(std::vector<const char*> words) {
  const auto parsed = Parse(std::move(words));
  const Reply* const reply = std::get_if<Reply>(&parsed);
  EXPECT_TRUE(reply != nullptr && reply->status != 0);
  return reply == nullptr ? "" : reply->text;
}

TEST(SimCommandLine, TakesAllPoliciesUnlessTold) {
  const auto all = std::get<Order>(Parse({"hog"}));
  EXPECT_EQ(all.policies.size(), kPolicyNames.size());
  ASSERT_EQ(all.scenarios.size(), 1u);
  EXPECT_EQ(all.scenarios[0].scenario.guests.size(), 7u);
  const auto two = std::get<Order>(Parse({"hog", "--policy", "greedy,max-min"}));
  EXPECT_THAT(two.policies, ElementsAre(PolicyKind::kGreedy, PolicyKind::kMaxMin));
}

TEST(SimCommandLine, SetsCostsSeedAndCrowd) {
  const auto order = std::get<Order>(
      Parse({"fleet", "--guests", "5", "--seed", "9", "--cost", "disk-read=7000000,put=1"}));
  EXPECT_EQ(order.scenarios[0].scenario.guests.size(), 6u);
  EXPECT_EQ(order.seed, 9u);
  EXPECT_EQ(order.cost.disk_read, 7'000'000u);
  EXPECT_EQ(order.cost.put, 1u);
  EXPECT_EQ(order.cost.get, CostModel{}.get);
}

TEST(SimCommandLine, SaysWhatIsWrong) {
  EXPECT_THAT(Fault({}), HasSubstr("SCENARIO"));
  EXPECT_THAT(Fault({"nothing"}), HasSubstr("neither a scenario"));
  EXPECT_THAT(Fault({"hog", "graph", "--plot", "x.svg"}), HasSubstr("name one alone"));
  EXPECT_THAT(Fault({"hog", "--policy", "lottery"}), HasSubstr("greedy,static"));
  EXPECT_THAT(Fault({"hog", "--cost", "put"}), HasSubstr("NAME=NANOSECONDS"));
  EXPECT_THAT(Fault({"hog", "--cost", "put=-1"}), HasSubstr("--cost put=-1"));
  EXPECT_THAT(Fault({"hog", "--cost", "luck=1"}), HasSubstr("--help"));
  EXPECT_FALSE(Fault({"hog", "--guests", "2001"}).empty());
}

TEST(SimCommandLine, HelpListsScenariosAndCosts) {
  const auto parsed = Parse({"--help"});
  const Reply& reply = std::get<Reply>(parsed);
  EXPECT_EQ(reply.status, 0);
  EXPECT_THAT(reply.text, HasSubstr("usemem"));
  EXPECT_THAT(reply.text, HasSubstr("disk-read"));
}

}  // namespace
}  // namespace tmem::sim
