#include "daemon/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "daemon/knobs.h"

namespace tmem::daemon {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::StartsWith;

std::variant<Order, Reply> Parse(std::vector<const char*> words) {
  words.insert(words.begin(), "tmemd");
  return ParseCommandLine(static_cast<int>(words.size()), words.data());
}

Order Ordered(const std::vector<const char*>& words) {
  auto parsed = Parse(words);
  const Reply* const reply = std::get_if<Reply>(&parsed);
  EXPECT_EQ(reply, nullptr) << reply->text;
  return reply == nullptr ? std::get<Order>(parsed) : Order{};
}

Reply Replied(const std::vector<const char*>& words) {
  auto parsed = Parse(words);
  EXPECT_TRUE(std::holds_alternative<Reply>(parsed));
  return std::get<Reply>(parsed);
}

void ExpectUsage(const std::vector<const char*>& words, const std::string& what) {
  const Reply reply = Replied(words);
  EXPECT_EQ(reply.status, ExitStatus::kUsage);
  EXPECT_THAT(reply.text, StartsWith("tmemd: "));
  EXPECT_THAT(reply.text, HasSubstr(what));
  EXPECT_EQ(std::count(reply.text.begin(), reply.text.end(), '\n'), 1) << "one line";
}

TEST(CommandLineTest, NothingMeansTheDefaultFileWhichMayBeAbsent) {
  const Order order = Ordered({});
  EXPECT_EQ(order.source.path, kDefaultConfigPath);
  EXPECT_FALSE(order.source.must_exist);
  EXPECT_FALSE(order.check_only);
  EXPECT_TRUE(order.source.overrides.empty());
}

TEST(CommandLineTest, ANamedFileMustExist) {
  const Order order = Ordered({"--config", "/x.toml", "--check-config"});
  EXPECT_EQ(order.source.path, "/x.toml");
  EXPECT_TRUE(order.source.must_exist);
  EXPECT_TRUE(order.check_only);
}

TEST(CommandLineTest, FlagsAndSetAreOverrides) {
  const Order order = Ordered({"--capacity", "64M", "--set", "spin-us=7", "--set",
                               "guest-defaults.weight=3", "--control-socket=/c"});
  EXPECT_THAT(order.source.overrides,
              ElementsAre(Pair("spin-us", "7"), Pair("guest-defaults.weight", "3"),
                          Pair("capacity", "64M"), Pair("control.socket", "/c")));
}

TEST(CommandLineTest, WrongUsageIsOneLine) {
  ExpectUsage({"--frobnicate"}, "--frobnicate");
  ExpectUsage({"stray"}, "stray");
  ExpectUsage({"--config"}, "--config");
  ExpectUsage({"--set", "workers"}, "--set workers: write NAME=VALUE");
  ExpectUsage({"--set", "wrokers=1"}, "no setting 'wrokers'");
  ExpectUsage({"--workers", "many"}, "workers: \"many\" is not allowed; write a whole number");
  ExpectUsage({"--hypervisor", "kvm"}, "one of \"auto\"");
}

TEST(CommandLineTest, PrintsWhatIsAskedFor) {
  EXPECT_EQ(Replied({"--help-config"}).text, KnobManual());
  EXPECT_EQ(Replied({"--print-config"}).text, DefaultConfigFile());
  EXPECT_THAT(Replied({"--version"}).text, StartsWith("tmemd "));
  const Reply help = Replied({"--help"});
  EXPECT_EQ(help.status, ExitStatus::kOk);
  for (const DaemonKnob& knob : DaemonKnobs()) {
    if (knob.has_flag) {
      EXPECT_THAT(help.text, HasSubstr(knob.help)) << knob.name;
    }
  }
}

}  // namespace
}  // namespace tmem::daemon
