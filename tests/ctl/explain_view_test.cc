#include "ctl/explain_view.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

namespace tmem::ctl {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class ExplainViewTest : public testing::Test {
 protected:
  ExplainViewTest() {
    connection_.guest = {.id = {7}, .name = "db1", .uuid = {}};
    connection_.state = "connected";
    stats_.charged = MiB(20);
    store_.capacity = MiB(64);
    store_.segments[static_cast<size_t>(PageClass::kPersistent)] = MiB(40);
    share_ = {.weight = 100,
              .weights = 300,
              .persistent_held = MiB(18),
              .entitled = MiB(36),
              .reserve = MiB(8),
              .for_surrendered = MiB(12),
              .of_unclaimed = MiB(16),
              .unclaimed = MiB(48),
              .surrendered = MiB(6),
              .surrender_percent = 200,
              .wants_more = true,
              .ephemeral_held = MiB(5),
              .ephemeral_share = MiB(7),
              .refusals = {},
              .evictions = {}};
  }

  std::string Lines() const {
    return ExplainView(daemon::ExplanationJson({.connection = connection_,
                                                .stats = stats_,
                                                .share = share_,
                                                .history = history_,
                                                .store = store_}));
  }
  // In one line.
  std::string View() const {
    std::istringstream words(Lines());
    std::string line;
    for (std::string word; words >> word;) line += word + " ";
    return line;
  }
  std::string ViewOf(PolicyKind policy) {
    share_.policy = policy;
    return View();
  }

  ConnectionInfo connection_;
  GuestStats stats_;
  GuestShare share_;
  std::vector<daemon::History::Sample> history_;
  StoreStats store_;
};

TEST_F(ExplainViewTest, AShareIsASumWithItsReasons) {
  EXPECT_EQ(Lines(), R"(guest 7 db1, connected
share, by policy max-min
  Its persistent pages hold 18.0 MiB and may take 36.0 MiB:
    8.00 MiB  its reserve, which is there for it at any time
    12.0 MiB  for the 6.00 MiB that it gave up of its own memory, at 200 percent
    16.0 MiB  its part of the 48.0 MiB that nobody is guaranteed, by its weight
              of 100 among 300
  Its ephemeral pages hold 5.00 MiB; its share of what persistent pages leave is
  7.00 MiB, and up to there none is evicted for another guest's.
  All its pages together take 20.0 MiB; no cap is set.
refused puts
  In the last minute it put nothing, and 0 of its pages were evicted.
  None of its puts was refused since it came.
evicted pages
  None of its ephemeral pages was evicted since it came.
)");
}

TEST_F(ExplainViewTest, LinesFitATerminalAndCommandsAreWhole) {
  share_.refusals.Add(Refusal::kEntitlement);
  share_.evictions.Add(Eviction::kReplaced);
  std::istringstream lines(Lines());
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 80u) << line;
    EXPECT_EQ(std::ranges::count(line, '`') % 2, 0) << line;
    EXPECT_FALSE(line.ends_with(' ')) << line;
  }
}

TEST_F(ExplainViewTest, WeightIsNoAdviceForWhoHasAllThereIs) {
  share_.evictions.Add(Eviction::kReplaced);
  share_.ephemeral_share = MiB(24);
  EXPECT_THAT(View(), AllOf(HasSubstr("capacity=SIZE"), Not(HasSubstr("weight=NUMBER"))));
}

TEST_F(ExplainViewTest, EachPolicySaysWhatItGives) {
  EXPECT_THAT(ViewOf(PolicyKind::kGreedy),
              AllOf(HasSubstr("who comes first has all"), HasSubstr("the oldest of all guests"),
                    Not(HasSubstr("gave up"))));
  EXPECT_THAT(ViewOf(PolicyKind::kStatic),
              HasSubstr("its fixed part of the capacity of 64.0 MiB, by its weight of 100"));
  EXPECT_THAT(ViewOf(PolicyKind::kSurrender),
              AllOf(HasSubstr("gave up"), Not(HasSubstr("nobody is guaranteed"))));
  EXPECT_THAT(ViewOf(PolicyKind::kSmartAlloc), HasSubstr("rises while its puts are refused"));
  EXPECT_THAT(ViewOf(PolicyKind::kUtility), HasSubstr("what more memory would save it"));
}

TEST_F(ExplainViewTest, WhatIsLentAndBorrowedIsTold) {
  share_.wants_more = false;
  share_.of_unclaimed = MiB(8);
  share_.entitled = MiB(28);
  EXPECT_THAT(View(), HasSubstr("does not ask for more now, and others borrow the rest"));
  share_.of_unclaimed = MiB(20);
  EXPECT_THAT(View(), HasSubstr("borrowed from guests that do not ask"));
}

TEST_F(ExplainViewTest, MemoryThatTheHostHasNotIsTold) {
  share_.for_surrendered = MiB(11);
  EXPECT_THAT(View(), HasSubstr("at 200 percent, as far as there is room "));
}

TEST_F(ExplainViewTest, NothingIsAboveTheCapacity) {
  share_.entitled = share_.of_unclaimed = kUnlimited;
  EXPECT_THAT(ViewOf(PolicyKind::kGreedy), HasSubstr("may take 64.0 MiB"));
}

TEST_F(ExplainViewTest, WhoHoldsTooMuchAndWhoIsCappedIsTold) {
  stats_.settings.cap = MiB(30);
  share_.entitled = MiB(30);
  EXPECT_THAT(View(), AllOf(HasSubstr("That is 36.0 MiB, but its cap is less."),
                            HasSubstr("take 20.0 MiB of its cap of 30.0 MiB.")));
  share_.persistent_held = MiB(31);
  EXPECT_THAT(View(), HasSubstr("It holds more than that: it keeps its pages"));
}

TEST_F(ExplainViewTest, EachRefusalHasItsReasonAndItsRemedy) {
  const std::tuple<Refusal, const char*, const char*> expected[] = {
      {Refusal::kFrozen, "because it is frozen.", "`tmemctl thaw db1`"},
      {Refusal::kCap, "because of its cap: its pages take 20.0 MiB of 30.0 MiB now",
       "`tmemctl set db1 cap=SIZE` (it is 30.0 MiB)"},
      {Refusal::kEntitlement, "held all that they may: 18.0 MiB of 36.0 MiB now",
       "`tmemctl set db1 weight=NUMBER` (it is 100)"},
      {Refusal::kReserves, "40.0 MiB of the capacity of 64.0 MiB, and the rest is reserved",
       "`tmemctl set capacity=SIZE` (it is 64.0 MiB)"},
      {Refusal::kCapacity, "nothing was left to evict", "`tmemctl set capacity=SIZE`"}};
  stats_.settings.cap = MiB(30);
  stats_.settings.frozen = true;
  for (const auto& [refusal, reason, remedy] : expected) {
    share_.refusals = {};
    share_.refusals.Add(refusal);
    EXPECT_THAT(View(), AllOf(HasSubstr("Puts refused since it came: 1 (1 "),
                              HasSubstr("The last was refused because "), HasSubstr(reason),
                              HasSubstr("What would change that: "), HasSubstr(remedy)));
  }
  share_.refusals.Add(Refusal::kFrozen);
  stats_.settings.frozen = false;
  EXPECT_THAT(View(), AllOf(HasSubstr("came: 2 (1 while it was frozen, 1 for want of capacity)"),
                            HasSubstr("it was frozen; it is not now")));
}

TEST_F(ExplainViewTest, AdviceThatWasFollowedIsNotGivenAgain) {
  share_.refusals.Add(Refusal::kCap);
  EXPECT_THAT(View(), AllOf(HasSubstr("because of the cap that it had; none is set now"),
                            HasSubstr("What would change that: nothing needs to.")));
  stats_.settings.cap = MiB(30);
  EXPECT_THAT(View(), HasSubstr("compress=dense"));
  for (auto& mode : stats_.settings.compress) mode = CompressMode::kDense;
  EXPECT_THAT(View(), Not(HasSubstr("compress=dense")));
}

TEST_F(ExplainViewTest, EachEvictionHasItsReasonAndItsRemedy) {
  stats_.settings.cap = MiB(30);
  const std::tuple<Eviction, const char*, const char*> expected[] = {
      {Eviction::kOverShare, "further below its share needed room: its own hold 5.00 MiB",
       "weight=NUMBER"},
      {Eviction::kReplaced, "newer ones of its own needed room", "weight=NUMBER"},
      {Eviction::kPersistent, "persistent pages needed room", "capacity=SIZE"},
      {Eviction::kCap, "of its cap: its pages take 20.0 MiB", "cap=SIZE"},
      {Eviction::kShrunk, "the capacity was lowered: it is 64.0 MiB now", "capacity=SIZE"}};
  for (const auto& [eviction, reason, remedy] : expected) {
    share_.evictions = {};
    share_.evictions.Add(eviction);
    share_.evictions.Add(eviction);
    EXPECT_THAT(
        View(),
        AllOf(HasSubstr("Segments evicted since it came: 2, 2.00 MiB of ephemeral pages (2 "),
              HasSubstr("The last was evicted because "), HasSubstr(reason), HasSubstr(remedy)));
  }
}

TEST_F(ExplainViewTest, LatelyIsTheLastTenMinutes) {
  history_.assign(100, {.puts = 10, .puts_refused = 2, .evicted = 1, .seconds = 10});
  EXPECT_THAT(View(), HasSubstr("In the last 10 minutes 120 of its 600 puts were refused, and 60 "
                                "of its pages were evicted."));
}

TEST_F(ExplainViewTest, ANameDoesNotMoveTheCursor) {
  connection_.guest.name = "a\x1b[2J";
  share_.refusals.Add(Refusal::kCap);
  EXPECT_THAT(View(), Not(HasSubstr("\x1b")));
}

TEST_F(ExplainViewTest, WhatIsNoAnswerIsRefused) {
  EXPECT_THROW(ExplainView(Json::object()), nlohmann::json::exception);
}

}  // namespace
}  // namespace tmem::ctl
