#include "daemon/host_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tmem::daemon {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

KnobValue Text(const char* text) { return std::string(text); }

TEST(HostSettingsTest, CommandsGoOverKeysAndKeysOverTheFile) {
  Config file;
  file.spin_us = 1;
  HostSettings host(file);
  host.Record({.by_key = {{"spin-us", int64_t{2}}, {"zstd-level", int64_t{5}}}});
  EXPECT_EQ(host.config().spin_us, 2u);
  host.Record({.by_key = host.live_changes().by_key, .by_command = {{"spin-us", int64_t{3}}}});
  EXPECT_EQ(host.config().spin_us, 3u);
  EXPECT_EQ(host.config().zstd_level, 5);
  file.spin_us = 9;
  file.workers = 7;
  EXPECT_THAT(host.Reload(file), ElementsAre("workers"));
  EXPECT_EQ(host.config().spin_us, 3u);
  EXPECT_EQ(host.config().workers, 0u) << "waits for a restart";
  host.Record({});
  EXPECT_EQ(host.config().spin_us, 9u);
}

TEST(HostSettingsTest, TheCapacityStaysWithinItsMaximum) {
  Config file;
  file.capacity = MiB(16);
  const HostSettings host(file);
  EXPECT_EQ(host.max_capacity(), MiB(64));
  EXPECT_TRUE(host.Preview({.by_key = {{"capacity", Text("64M")}}}));
  const auto more = host.Preview({.by_key = {{"capacity", Text("65M")}}});
  ASSERT_FALSE(more);
  EXPECT_THAT(more.error().message, HasSubstr("above max-capacity, 64M"));
}

TEST(HostSettingsTest, ACapacityThatFollowsNeedsAMaximumFromTheStart) {
  Config file;
  const HostSettings without(file);
  EXPECT_FALSE(without.Preview({.by_key = {{"capacity", Text("auto")}}}));
  file.max_capacity = GiB(1);
  const HostSettings with(file);
  const auto config = with.Preview({.by_key = {{"capacity", Text("auto")}}});
  ASSERT_TRUE(config);
  EXPECT_FALSE(config->capacity);
  EXPECT_FALSE(
      with.Preview({.by_key = {{"capacity", Text("auto")}, {"min-capacity", Text("2G")}}}));
}

TEST(HostSettingsTest, GuestDefaultsAreCheckedAsAWhole) {
  HostSettings host{Config{}};
  EXPECT_FALSE(host.Preview(
      {.by_key = {{"guest-defaults.cap", Text("1M")}, {"guest-defaults.reserve", Text("2M")}}}));
}

TEST(HostSettingsTest, LiveChangesThatContradictAReloadedFileAreSetAside) {
  HostSettings host{Config{}};
  host.Record({.by_key = {{"guest-defaults.reserve", Text("2G")}, {"spin-us", int64_t{2}}}});
  Config file;
  file.guest_defaults.cap = GiB(1);
  host.Reload(file);
  EXPECT_EQ(host.config().guest_defaults.reserve, Bytes(0));
  EXPECT_EQ(host.config().guest_defaults.cap, GiB(1));
  host.Reload(Config{});
  EXPECT_EQ(host.config().guest_defaults.reserve, GiB(2)) << "and hold again";
}

}  // namespace
}  // namespace tmem::daemon
