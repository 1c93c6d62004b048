#include "ctl/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "daemon/control_protocol.h"

namespace tmem::ctl {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::variant<Order, Reply> Parse(std::vector<const char*> words) {
  words.insert(words.begin(), "tmemctl");
  return ParseCommandLine(static_cast<int>(words.size()), words.data());
}

Order Ordered(const std::vector<const char*>& words) {
  auto parsed = Parse(words);
  if (const Reply* const reply = std::get_if<Reply>(&parsed)) {
    ADD_FAILURE() << reply->text;
    return {};
  }
  return std::get<Order>(parsed);
}

// The single request of the command.
Request Requested(const std::vector<const char*>& words) {
  const Order order = Ordered(words);
  const auto* const requests = std::get_if<std::vector<Request>>(&order.task);
  if (requests == nullptr || requests->size() != 1) {
    ADD_FAILURE() << "not one request";
    return {};
  }
  return requests->front();
}

void ExpectUsage(const std::vector<const char*>& words, const std::string& what) {
  auto parsed = Parse(words);
  const Reply* const reply = std::get_if<Reply>(&parsed);
  ASSERT_NE(reply, nullptr);
  EXPECT_EQ(reply->status, ExitStatus::kUsage);
  EXPECT_THAT(reply->text, StartsWith("tmemctl: "));
  EXPECT_THAT(reply->text, HasSubstr(what));
  EXPECT_EQ(std::count(reply->text.begin(), reply->text.end(), '\n'), 1) << "one line";
}

TEST(CtlCommandLineTest, CommandsBecomeRequests) {
  struct Case {
    std::vector<const char*> words;
    std::string verb;
    Json fields;
    Show show;
  };
  const Json none = Json::object();
  const Json db1{{"guest", "db1"}};
  const std::vector<Case> cases = {
      {{"list"}, "list", none, Show::kList},
      {{"list", "--names"}, "list", none, Show::kNames},
      {{"show", "db1"}, "show", db1, Show::kGuest},
      {{"stats"}, "stats", none, Show::kHostCounters},
      {{"stats", "db1"}, "stats", db1, Show::kGuestCounters},
      {{"explain", "db1"}, "explain", db1, Show::kExplain},
      {{"history", "db1"}, "history", db1, Show::kHistory},
      {{"stats", "--pools"}, "stats", none, Show::kPools},
      {{"stats", "db1", "--pools"}, "stats", db1, Show::kPools},
      {{"set", "db1", "weight=2", "cap=1G"},
       "set",
       {{"guest", "db1"}, {"settings", {{"weight", "2"}, {"cap", "1G"}}}},
       Show::kSettings},
      {{"set", "db1", "weight=2", "--persist"},
       "set",
       {{"guest", "db1"}, {"settings", {{"weight", "2"}}}, {"persist", true}},
       Show::kSettings},
      {{"set", "capacity=1G", "log-level=debug"},
       "set",
       {{"settings", {{"capacity", "1G"}, {"log-level", "debug"}}}},
       Show::kHostChanges},
      {{"show"}, "show", none, Show::kHostSettings},
      {{"freeable"}, "freeable", none, Show::kFreeable},
      {{"reclaim", "512M"}, "reclaim", {{"bytes", "512M"}}, Show::kReclaimed},
      {{"xenstore", "read", "/a"}, "xenstore-read", {{"path", "/a"}}, Show::kNodeValue},
      {{"xenstore", "list", "/a"}, "xenstore-list", {{"path", "/a"}}, Show::kNodes},
      {{"xenstore", "rm", "/a"}, "xenstore-remove", {{"path", "/a"}}, Show::kNothing},
      {{"xenstore", "write", "/a", "5"},
       "xenstore-write",
       {{"path", "/a"}, {"value", "5"}},
       Show::kNothing},
      {{"freeze", "db1"}, "freeze", db1, Show::kNothing},
      {{"freeze", "--all"}, "freeze", none, Show::kNothing},
      {{"thaw", "db1"}, "thaw", db1, Show::kNothing},
      {{"flush", "db1"}, "flush", db1, Show::kFlushed},
      {{"auth", "db1", "U", "allow"},
       "auth",
       {{"guest", "db1"}, {"uuid", "U"}, {"allow", true}},
       Show::kNothing},
      {{"auth", "db1", "U", "deny"},
       "auth",
       {{"guest", "db1"}, {"uuid", "U"}, {"allow", false}},
       Show::kNothing},
      {{"forgive", "db1"}, "forgive", db1, Show::kNothing},
      {{"version"}, "version", none, Show::kVersion},
  };
  for (const Case& each : cases) {
    const Request request = Requested(each.words);
    EXPECT_EQ(request.verb, each.verb);
    EXPECT_EQ(request.fields, each.fields) << each.verb;
    EXPECT_EQ(request.show, each.show) << each.verb;
  }
}

TEST(CtlCommandLineTest, XenstoreWatchHasItsOptions) {
  const auto options = [](const std::vector<const char*>& words) {
    return std::get<WatchOptions>(Ordered(words).task);
  };
  EXPECT_EQ(options({"xenstore", "watch", "/a"}).path, "/a");
  EXPECT_EQ(options({"xenstore", "watch", "/a"}).changes, 0u);
  EXPECT_EQ(options({"xenstore", "watch", "/a", "--count", "3"}).changes, 3u);
}

TEST(CtlCommandLineTest, GlobalOptionsMayStandAnywhere) {
  EXPECT_EQ(Ordered({"list"}).socket, daemon::kDefaultControlSocket);
  EXPECT_EQ(Ordered({"--socket", "/s", "list"}).socket, "/s");
  EXPECT_EQ(Ordered({"list", "--socket", "/s"}).socket, "/s");
  EXPECT_TRUE(Ordered({"list", "--json"}).json);
  EXPECT_FALSE(Ordered({"list"}).json);
}

TEST(CtlCommandLineTest, TopHasItsOptions) {
  const auto options = [](const std::vector<const char*>& words) {
    return std::get<TopOptions>(Ordered(words).task);
  };
  EXPECT_EQ(options({"top"}).frames, 0u);
  EXPECT_EQ(options({"top", "--once"}).frames, 1u);
  EXPECT_EQ(options({"top", "--batch", "--count", "3"}).frames, 3u);
  EXPECT_EQ(options({"top", "--delay", "0.5"}).delay, std::chrono::milliseconds(500));
  EXPECT_EQ(options({"top", "--sort", "n"}).sort_key, 'n');
}

TEST(CtlCommandLineTest, WrongUsageIsOneLine) {
  ExpectUsage({}, "subcommand");
  ExpectUsage({"lst"}, "no command or option 'lst'");
  ExpectUsage({"xenstore", "raed", "/tool"}, "no command or option 'raed'");
  ExpectUsage({"frobnicate"}, "");
  ExpectUsage({"reclaim"}, "SIZE is required");
  ExpectUsage({"xenstore"}, "subcommand");
  ExpectUsage({"xenstore", "read"}, "PATH is required");
  ExpectUsage({"xenstore", "write", "/a"}, "VALUE is required");
  ExpectUsage({"show", "a", "b"}, "");
  ExpectUsage({"set"}, "SETTINGS is required");
  ExpectUsage({"set", "db1"}, "nothing to set");
  ExpectUsage({"set", "db1", "weight"}, "'weight' is no setting; write NAME=VALUE");
  ExpectUsage({"set", "db1", "=5"}, "'=5' is no setting");
  ExpectUsage({"set", "capacity=1G", "db1"}, "'db1' is no setting");
  ExpectUsage({"freeze"}, "name a guest, or say --all");
  ExpectUsage({"freeze", "db1", "--all"}, "excludes");
  ExpectUsage({"auth", "db1", "U"}, "PERMISSION is required");
  ExpectUsage({"auth", "db1", "U", "maybe"}, "maybe");
  ExpectUsage({"top", "--sort", "z"}, "no column 'z'");
  ExpectUsage({"top", "--sort", "name"}, "no column 'name'");
  ExpectUsage({"top", "--delay", "0"}, "--delay");
  ExpectUsage({"list", "--frobnicate"}, "frobnicate");
}

TEST(CtlCommandLineTest, HelpIsNoMistake) {
  auto parsed = Parse({"--help"});
  ASSERT_TRUE(std::holds_alternative<Reply>(parsed));
  EXPECT_EQ(std::get<Reply>(parsed).status, ExitStatus::kOk);
  EXPECT_THAT(std::get<Reply>(parsed).text, HasSubstr("Exit status"));
}

}  // namespace
}  // namespace tmem::ctl
