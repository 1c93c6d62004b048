#include "ctl/watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tmem::ctl {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(WatchTest, TellsWhatCameChangedAndWent) {
  const Nodes before = {{"/a", "1"}, {"/b", "2"}, {"/c", "3"}};
  EXPECT_THAT(ChangedNodes(before, {{"/a", "1"}, {"/b", "5"}, {"/d", ""}}),
              ElementsAre("/b = \"5\"", "/d = \"\"", "/c is gone"));
  EXPECT_THAT(ChangedNodes(before, before), IsEmpty());
}

TEST(WatchTest, EndsAfterAsManyChangesAsWereAskedFor) {
  int asked = 0;
  const auto ask = [&](const Request& request) -> Result<Json> {
    EXPECT_EQ(request.fields.at("path"), "/a");
    if (asked++ == 0) return Fail(ErrorCode::kNotFound, "no node");
    return Json{{"nodes", {{{"path", "/a"}, {"value", std::to_string(asked)}}}}};
  };
  EXPECT_TRUE(WatchNodes({.path = "/a", .changes = 2}, ask));
  EXPECT_EQ(asked, 3);
}

TEST(WatchTest, ADaemonThatGoesAwayEndsIt) {
  const auto ask = [](const Request&) -> Result<Json> {
    return Fail(ErrorCode::kUnavailable, "gone");
  };
  EXPECT_EQ(WatchNodes({.path = "/a"}, ask).error().code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace tmem::ctl
