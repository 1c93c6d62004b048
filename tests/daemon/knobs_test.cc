#include "daemon/knobs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

namespace tmem::daemon {
namespace {

using testing::HasSubstr;

std::string ReadProjectFile(const std::string& name) {
  std::ifstream file(std::string(TMEM_SOURCE_DIR) + "/" + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(KnobsTest, NamesAreUnique) {
  std::set<std::string> names;
  for (const DaemonKnob& knob : DaemonKnobs()) {
    EXPECT_TRUE(names.insert(knob.name).second) << knob.name;
  }
}

TEST(KnobsTest, EachDefaultIsAllowed) {
  for (const DaemonKnob& knob : DaemonKnobs()) {
    Config config;
    const auto set = SetKnob(config, knob.name, knob.get(Config{}));
    EXPECT_TRUE(set) << set.error().message;
    EXPECT_EQ(knob.get(config), knob.get(Config{})) << knob.name;
  }
}

TEST(KnobsTest, ARefusedValueChangesNothing) {
  for (const DaemonKnob& knob : DaemonKnobs()) {
    Config config;
    const auto set = SetKnob(config, knob.name, std::string("\x01"));
    ASSERT_FALSE(set) << knob.name;
    EXPECT_THAT(set.error().message, HasSubstr(knob.allowed));
    EXPECT_EQ(knob.get(config), knob.get(Config{})) << knob.name;
  }
}

TEST(KnobsTest, TextFromACommandLineIsReadLikeAFile) {
  Config config;
  ASSERT_TRUE(SetKnob(config, "workers", std::string("4")));
  ASSERT_TRUE(SetKnob(config, "shared-auth-default", std::string("true")));
  ASSERT_TRUE(SetKnob(config, "allowed-guests", std::string("a,b")));
  ASSERT_TRUE(SetKnob(config, "guest-defaults.compress", std::string("off")));
  EXPECT_EQ(config.workers, 4u);
  EXPECT_TRUE(config.shared_auth_default);
  EXPECT_THAT(config.allowed_guests, testing::ElementsAre("a", "b"));
  EXPECT_EQ(config.guest_defaults.compress[0], CompressMode::kOff);
  EXPECT_EQ(config.guest_defaults.compress[1], CompressMode::kOff);
}

TEST(KnobsTest, ACapacityIsASizeOrFollowsTheHost) {
  Config config;
  ASSERT_TRUE(SetKnob(config, "capacity", std::string("auto")));
  EXPECT_FALSE(config.capacity);
  const auto knob = std::ranges::find(DaemonKnobs(), "capacity", &DaemonKnob::name);
  EXPECT_EQ(knob->get(config), KnobValue(std::string("auto")));
  ASSERT_TRUE(SetKnob(config, "capacity", std::string("64M")));
  EXPECT_EQ(config.capacity, MiB(64));
  for (const char* const size : {"Auto", "", "4K", "unlimited"}) {
    EXPECT_FALSE(SetKnob(config, "capacity", std::string(size))) << size;
  }
  EXPECT_EQ(config.capacity, MiB(64));
}

TEST(KnobsTest, MetricsAreForThisHostAlone) {
  for (const char* address : {"", "127.0.0.1:0", "127.0.0.1:9641", "127.0.0.1:65535"}) {
    Config config;
    ASSERT_TRUE(SetKnob(config, "metrics.address", std::string(address))) << address;
    EXPECT_EQ(config.metrics_address, address);
  }
  for (const char* address :
       {"9641", ":9641", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-0",
        "127.0.0.1:80s", "127.0.0.1:80,90", "0.0.0.0:80", "localhost:80", "[::1]:80"}) {
    Config config;
    EXPECT_FALSE(SetKnob(config, "metrics.address", std::string(address))) << address;
  }
}

TEST(KnobsTest, UnknownNamesAreNotFound) {
  Config config;
  EXPECT_EQ(SetKnob(config, "wrokers", int64_t{1}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(SetKnob(config, "guest-defaults.wieght", int64_t{1}).error().code,
            ErrorCode::kNotFound);
  EXPECT_EQ(SetKnob(config, "guest-defaults", int64_t{1}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(SetKnob(config, "", int64_t{1}).error().code, ErrorCode::kNotFound);
}

TEST(KnobsTest, ChangesAreCheckedAsAWhole) {
  SettingChanges changes;
  ASSERT_TRUE(AddChange(changes, "reserve", std::string("2G")));
  ASSERT_TRUE(AddChange(changes, "cap", std::string("1G")));
  EXPECT_FALSE(WithChanges(GuestSettings{}, changes));
  ASSERT_TRUE(AddChange(changes, "cap", std::string("3G")));
  const auto settings = WithChanges(GuestSettings{}, changes);
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->reserve, GiB(2));
  EXPECT_EQ(settings->cap, GiB(3));
}

// The printed file says the defaults: with every comment removed from its settings it must read
// back to them.
TEST(KnobsTest, DefaultFileReadsBackToTheDefaults) {
  std::string file = DefaultConfigFile();
  EXPECT_TRUE(ParseConfig(file, "default", {}));
  // Comments have a space behind the #, settings and sections have not.
  for (size_t at = 0; (at = file.find("\n#", at)) != std::string::npos; ++at) {
    if (file[at + 2] == '[' || std::islower(file[at + 2]) != 0) file.erase(at + 1, 1);
  }
  const auto config = ParseConfig(file, "default", {});
  ASSERT_TRUE(config) << config.error().message;
  for (const DaemonKnob& knob : DaemonKnobs()) {
    EXPECT_EQ(knob.get(*config), knob.get(Config{})) << knob.name;
  }
  EXPECT_TRUE(config->guests.contains("db1"));
}

TEST(KnobsTest, InstalledFileIsTheDefaultFile) {
  EXPECT_EQ(ReadProjectFile("packaging/tmemd.toml"), DefaultConfigFile())
      << "write it anew: tmemd --print-config > packaging/tmemd.toml";
}

TEST(KnobsTest, ManualDescribesEveryKnob) {
  EXPECT_THAT(ReadProjectFile("docs/tmemd.md"), HasSubstr(KnobManual()))
      << "put the output of `tmemd --help-config` into docs/tmemd.md";
}

}  // namespace
}  // namespace tmem::daemon
