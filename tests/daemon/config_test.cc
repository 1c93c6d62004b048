#include "daemon/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>
#include <filesystem>

#include "daemon/guest_registry.h"
#include "daemon/knobs.h"
#include "daemon/temporary_folder.h"

namespace tmem::daemon {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

Result<Config> Parse(std::string_view text, const ConfigSource& source = {}) {
  return ParseConfig(text, "f.toml", source);
}

TEST(ConfigTest, EmptyFileGivesTheDefaults) {
  const auto config = Parse("");
  ASSERT_TRUE(config) << config.error().message;
  for (const DaemonKnob& knob : DaemonKnobs()) {
    EXPECT_EQ(knob.get(*config), knob.get(Config{})) << knob.name;
  }
  EXPECT_TRUE(config->guests.empty());
}

TEST(ConfigTest, ReadsEveryKindOfValue) {
  const auto config = Parse(R"(
capacity = "64M"
max-capacity = 134217728
workers = 3
zstd-level = -2
shared-auth-default = true
hypervisor = "loopback"
allowed-guests = ["db1", "web"]
log-level = "debug"
[control]
socket = "/tmp/c.sock"
mode = "0660"
[limits]
queues = 2
ring-page-order = 0
[guest-defaults]
weight = 7
compress = "dense"
cap = "unlimited"
)");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->capacity, MiB(64));
  EXPECT_EQ(config->max_capacity, MiB(128));
  EXPECT_EQ(config->workers, 3u);
  EXPECT_EQ(config->zstd_level, -2);
  EXPECT_TRUE(config->shared_auth_default);
  EXPECT_EQ(config->hypervisor, HypervisorKind::kLoopback);
  EXPECT_THAT(config->allowed_guests, testing::ElementsAre("db1", "web"));
  EXPECT_EQ(config->log_level, LogLevel::kDebug);
  EXPECT_EQ(config->control_socket, "/tmp/c.sock");
  EXPECT_EQ(config->control_mode, 0660u);
  EXPECT_EQ(config->limits.max_queues, 2u);
  EXPECT_EQ(config->limits.max_ring_page_order, 0u);
  EXPECT_EQ(config->guest_defaults.weight, 7u);
  EXPECT_EQ(config->guest_defaults.compress[0], CompressMode::kDense);
  EXPECT_EQ(config->guest_defaults.compress[1], CompressMode::kDense);
  EXPECT_EQ(config->guest_defaults.cap, kUnlimited);
}

TEST(ConfigTest, GuestSectionsKeepOnlyWhatTheySay) {
  const auto config = Parse(R"(
[guest-defaults]
weight = 50
[guest."db1"]
cap = "1G"
compress = "off"
compress-persistent = "dense"
shared-auth = ["00000000-0000-0000-0000-000000000001"]
)");
  ASSERT_TRUE(config) << config.error().message;
  const auto settings = WithChanges(config->guest_defaults, config->guests.at("db1"));
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->weight, 50u);
  EXPECT_EQ(settings->cap, GiB(1));
  EXPECT_EQ(settings->compress[static_cast<int>(PageClass::kEphemeral)], CompressMode::kOff);
  EXPECT_EQ(settings->compress[static_cast<int>(PageClass::kPersistent)], CompressMode::kDense);
  EXPECT_TRUE(settings->shared_auth.contains(Uuid{{0, 1}}));
}

struct Mistake {
  std::string text;
  std::string place;    // the message's start
  std::string content;  // somewhere in it
};

class ConfigMistakeTest : public testing::TestWithParam<Mistake> {};

TEST_P(ConfigMistakeTest, IsToldWithFileLineAndWhatIsAllowed) {
  const auto config = Parse(GetParam().text);
  ASSERT_FALSE(config);
  EXPECT_EQ(
      config.error().code == ErrorCode::kInvalid || config.error().code == ErrorCode::kNotFound,
      true);
  EXPECT_THAT(config.error().message,
              AllOf(StartsWith(GetParam().place), HasSubstr(GetParam().content)));
  EXPECT_EQ(config.error().message.find('\n'), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    Each, ConfigMistakeTest,
    testing::Values(
        Mistake{"workers = ", "f.toml:1: ", ""},
        Mistake{"\n\nwrokers = 3", "f.toml:3: ", "no setting 'wrokers'; see tmemd --help-config"},
        Mistake{"\n[control]\nsokcet = \"/x\"", "f.toml:3: ", "no setting 'control.sokcet'"},
        Mistake{"workers = 257",
                "f.toml:1: workers: ", "257 is not allowed; write a whole number from 0 to 256"},
        Mistake{"workers = -1", "f.toml:1: workers: ", "-1 is not allowed"},
        Mistake{"workers = 1.5", "f.toml:1: workers: ", "no setting takes this kind of value"},
        Mistake{"workers = true", "f.toml:1: workers: ", "true is not allowed"},
        Mistake{"capacity = \"64X\"", "f.toml:1: capacity: ", "\"64X\" is not allowed"},
        Mistake{"capacity = \"unlimited\"", "f.toml:1: capacity: ", "is not allowed"},
        Mistake{"capacity = 4096", "f.toml:1: capacity: ", "at least 1M"},
        Mistake{"capacity = \"auto\"", "f.toml: capacity = \"auto\" needs a max-capacity",
                "restart"},
        Mistake{"capacity = \"auto\"\nmax-capacity = \"32M\"", "f.toml: max-capacity (32M)",
                "below min-capacity (64M)"},
        Mistake{"host-reserve = \"1025T\"", "f.toml:1: host-reserve: ", "at most 1024T"},
        Mistake{"min-capacity = 0", "f.toml:1: min-capacity: ", "at least 1M"},
        Mistake{"capacity = -5", "f.toml:1: capacity: ", "-5 is not allowed"},
        Mistake{"\ncapacity = \"2G\"\nmax-capacity = \"1G\"", "f.toml: max-capacity (1G) ",
                "below capacity (2G)"},
        Mistake{"spin-us = 10001", "f.toml:1: spin-us: ", "from 0 to 10000"},
        Mistake{"zstd-level = 20", "f.toml:1: zstd-level: ", "from -7 to 19"},
        Mistake{"log-level = \"loud\"",
                "f.toml:1: log-level: ", "one of \"error\", \"warning\", \"info\", \"debug\""},
        Mistake{"hypervisor = \"kvm\"", "f.toml:1: hypervisor: ", "\"xen\""},
        Mistake{"shared-auth-default = 1", "f.toml:1: shared-auth-default: ", "true or false"},
        Mistake{"allowed-guests = [\"a\", 5]", "f.toml:1: allowed-guests: ", "kind of value"},
        Mistake{"allowed-guests = [\"a\", \"\"]", "f.toml:1: allowed-guests: ", "names or uuids"},
        Mistake{"control.socket = \"run/x\"", "f.toml:1: control.socket: ", "an absolute path"},
        Mistake{"control.socket = \"/" + std::string(107, 'x') + "\"",
                "f.toml:1: ", "at most 107 bytes"},
        Mistake{"control.mode = 600", "f.toml:1: control.mode: ", "as in \"0660\""},
        Mistake{"control.mode = \"0999\"", "f.toml:1: control.mode: ", "octal digits"},
        Mistake{"loopback.mode = \"07777\"", "f.toml:1: loopback.mode: ", "octal digits"},
        Mistake{"limits.queues = 17", "f.toml:1: limits.queues: ", "from 1 to 16"},
        Mistake{"limits.ring-page-order = 5", "f.toml:1: limits.ring-page-order: ", "from 0 to 4"},
        Mistake{"limits.slots = 0", "f.toml:1: limits.slots: ", "from 1 to 1024"},
        Mistake{"[guest-defaults]\nweight = 0",
                "f.toml:2: guest-defaults: weight: ", "from 1 to 65535"},
        Mistake{"[guest-defaults]\ncolour = 0",
                "f.toml:2: guest-defaults: ", "no setting 'colour'; there are compress, weight"},
        Mistake{"[guest-defaults]\nreserve = \"2G\"\ncap = \"1G\"",
                "f.toml: [guest-defaults]: ", "reserve"},
        Mistake{"guest = 5", "f.toml:1: guest: ", "a section for each guest"},
        Mistake{"[guest]\ndb1 = 5", "f.toml:2: guest: ", "a section for each guest"},
        Mistake{"\n[guest.\"db1\"]\nweight = \"big\"",
                "f.toml:3: guest.\"db1\": weight: ", "whole number"},
        Mistake{"\n[guest.\"db1\"]\nweight = 1979-05-27",
                "f.toml:3: guest.\"db1\": weight: ", "kind of value"},
        Mistake{"\n[guest.\"db1\"]\nshared-auth = [\"x\"]", "f.toml:3: guest.\"db1\": shared-auth",
                "a list of uuids"},
        Mistake{"\n[guest.\"db1\"]\nreserve = \"2G\"\ncap = \"1G\"",
                "f.toml:2: [guest.\"db1\"]: ", "reserve"},
        Mistake{"[guest.\"00000000-0000-0000-0000-00000000000a\"]\n"
                "[guest.\"0000000000000000000000000000000A\"]",
                "f.toml:", "two sections"}));

TEST(ConfigTest, OverridesWinOverTheFile) {
  const auto config = Parse("workers = 2\n[guest-defaults]\nweight = 5",
                            {.overrides = {{"workers", "4"}, {"guest-defaults.weight", "9"}}});
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->workers, 4u);
  EXPECT_EQ(config->guest_defaults.weight, 9u);
}

TEST(ConfigTest, OverridesAreCheckedTogetherWithTheFile) {
  const auto config =
      Parse("\n[guest.\"db1\"]\nreserve = \"2G\"", {.overrides = {{"guest-defaults.cap", "1G"}}});
  ASSERT_FALSE(config);
  EXPECT_THAT(config.error().message, StartsWith("f.toml:2: [guest.\"db1\"]: "));
}

TEST(LoadConfigTest, AbsentDefaultFileIsFine) {
  const TemporaryFolder folder;
  const auto config = LoadConfig({.path = folder.Path("none.toml")});
  ASSERT_TRUE(config) << config.error().message;
}

TEST(LoadConfigTest, AbsentNamedFileIsNot) {
  const TemporaryFolder folder;
  const auto config = LoadConfig({.path = folder.Path("none.toml"), .must_exist = true});
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(config.error().message, HasSubstr("none.toml: No such file"));
}

TEST(LoadConfigTest, FolderIsNoFile) {
  const TemporaryFolder folder;
  const auto config = LoadConfig({.path = folder.Path(""), .must_exist = true});
  ASSERT_FALSE(config);
  EXPECT_THAT(config.error().message, HasSubstr("Is a directory"));
}

TEST(LoadConfigTest, GuestsHaveFilesBesideIt) {
  const TemporaryFolder folder;
  const std::string path = folder.Write("tmemd.toml", "[guest.\"db1\"]\ncap = \"1G\"");
  std::filesystem::create_directory(folder.Path("guests.d"));
  folder.Write("guests.d/db1.toml", "weight = 7\n");
  folder.Write("guests.d/notes.txt", "no TOML at all");
  const auto config = LoadConfig({.path = path});
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->guest_folder, folder.Path("guests.d"));
  EXPECT_EQ(config->guest_files.size(), 1u);
  EXPECT_EQ(config->guest_files.at("db1").at("weight"), KnobValue(int64_t{7}));
}

TEST(LoadConfigTest, MistakesInGuestsFilesNameFileAndLine) {
  const TemporaryFolder folder;
  const std::string path = folder.Write("tmemd.toml", "[guest.\"db1\"]\ncap = \"1G\"");
  std::filesystem::create_directory(folder.Path("guests.d"));
  const std::string file = folder.Write("guests.d/db1.toml", "\nweight = 0\n");
  EXPECT_THAT(LoadConfig({.path = path}).error().message,
              StartsWith(file + ":2: weight: 0 is not allowed"));
  folder.Write("guests.d/db1.toml", "[guest]\nweight = 1\n");
  EXPECT_THAT(LoadConfig({.path = path}).error().message,
              StartsWith(file + ":1: guest: no setting"));
  folder.Write("guests.d/db1.toml", "reserve = \"2G\"\n");
  EXPECT_THAT(LoadConfig({.path = path}).error().message,
              StartsWith(file + ": reserve 2G is above cap 1G"));
}

TEST(LoadConfigTest, EmptyFileIsFine) {
  const TemporaryFolder folder;
  EXPECT_TRUE(LoadConfig({.path = folder.Write("empty.toml", ""), .must_exist = true}));
}

}  // namespace
}  // namespace tmem::daemon
