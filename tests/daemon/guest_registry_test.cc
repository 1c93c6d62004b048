#include "daemon/guest_registry.h"

#include <gtest/gtest.h>

namespace tmem::daemon {
namespace {

const GuestInfo kDb{.id = {1}, .name = "db1", .uuid = Uuid{{1, 1}}};
const GuestInfo kWeb{.id = {2}, .name = "web", .uuid = Uuid{{2, 2}}};

Config Configured(std::string_view text) {
  auto config = ParseConfig(text, "f.toml", {});
  EXPECT_TRUE(config) << config.error().message;
  return config.value_or(Config{});
}

TEST(GuestRegistryTest, EverybodyIsAllowedByDefault) {
  const GuestRegistry registry{Config{}};
  EXPECT_TRUE(registry.Allows(kDb));
  EXPECT_EQ(registry.SettingsOf(kDb), GuestSettings{});
}

TEST(GuestRegistryTest, OnlyListedGuestsAreAllowed) {
  const GuestRegistry registry(Configured("allowed-guests = [\"db1\"]"));
  EXPECT_TRUE(registry.Allows(kDb));
  EXPECT_FALSE(registry.Allows(kWeb));
}

TEST(GuestRegistryTest, AGuestIsAllowedByItsUuid) {
  const GuestRegistry registry(Configured("allowed-guests = [\"" + kWeb.uuid.ToString() + "\"]"));
  EXPECT_FALSE(registry.Allows(kDb));
  EXPECT_TRUE(registry.Allows(kWeb));
}

TEST(GuestRegistryTest, AnEmptyListAllowsNobody) {
  EXPECT_FALSE(GuestRegistry(Configured("allowed-guests = []")).Allows(kDb));
}

TEST(GuestRegistryTest, SectionsGoOverDefaultsAndUuidsOverNames) {
  const GuestRegistry registry(
      Configured("[guest-defaults]\nweight = 5\n"
                 "[guest.\"web\"]\nweight = 6\n"
                 "[guest.\"db1\"]\nweight = 7\n"
                 "[guest.\"" +
                 kDb.uuid.ToString() + "\"]\nweight = 8\n"));
  EXPECT_EQ(registry.SettingsOf({.id = {3}, .name = "other", .uuid = {}}).weight, 5u);
  EXPECT_EQ(registry.SettingsOf(kWeb).weight, 6u);
  EXPECT_EQ(registry.SettingsOf(kDb).weight, 8u);
}

// From the weakest layer to the strongest, each with one setting more than the one over it.
TEST(GuestRegistryTest, TheStrongestLayerThatSaysAnythingHolds) {
  Config config = Configured("[guest-defaults]\nweight = 1\n[guest.\"db1\"]\nweight = 2\n");
  GuestRegistry registry(config);
  EXPECT_EQ(registry.SettingsOf(kDb).weight, 2u);
  config.guest_files["db1"] = {{"weight", int64_t{3}}};
  registry.Reload(config);
  EXPECT_EQ(registry.SettingsOf(kDb).weight, 3u);
  config.guest_files[kDb.uuid.ToString()] = {{"weight", int64_t{4}}};
  registry.Reload(config);
  EXPECT_EQ(registry.SettingsOf(kDb).weight, 4u);
  registry.Record(kDb, {.by_key = {{"weight", int64_t{5}}}});
  EXPECT_EQ(registry.SettingsOf(kDb).weight, 5u);
  registry.Record(kDb,
                  {.by_key = {{"weight", int64_t{5}}}, .by_command = {{"weight", int64_t{6}}}});
  EXPECT_EQ(registry.SettingsOf(kDb).weight, 6u);
}

TEST(GuestRegistryTest, KeysGoWithTheGuestAndCommandsStay) {
  GuestRegistry registry{Config{}};
  registry.Record(kDb, {.by_key = {{"weight", int64_t{5}}}, .by_command = {{"frozen", true}}});
  registry.ForgetKeys(kDb);
  EXPECT_EQ(registry.SettingsOf(kDb).weight, GuestSettings{}.weight);
  EXPECT_TRUE(registry.SettingsOf(kDb).frozen);
}

TEST(GuestRegistryTest, AFileIsNamedAfterTheGuestIfItCanBe) {
  Config config;
  EXPECT_EQ(GuestRegistry(config).FileNameOf(kDb), "db1");
  EXPECT_EQ(GuestRegistry(config).FileNameOf({.id = {1}, .name = "../x", .uuid = kDb.uuid}),
            kDb.uuid.ToString());
  config.guest_files[kDb.uuid.ToString()] = {};
  EXPECT_EQ(GuestRegistry(config).FileNameOf(kDb), kDb.uuid.ToString());
}

TEST(GuestRegistryTest, AFileThatContradictsTheConfigurationIsRefused) {
  const GuestRegistry registry(Configured("[guest-defaults]\ncap = \"1G\""));
  EXPECT_FALSE(registry.CheckFile(kDb, {.changes = {{"reserve", std::string("2G")}}}));
  EXPECT_TRUE(registry.CheckFile(
      kDb, {.changes = {{"reserve", std::string("2G")}, {"cap", std::string("3G")}}}));
}

TEST(GuestRegistryTest, ChangesOutliveTheGuestsReboot) {
  GuestRegistry registry{Config{}};
  registry.Record(kDb, {.by_command = {{"weight", int64_t{9}}, {"frozen", true}}});
  const GuestInfo rebooted{.id = {17}, .name = kDb.name, .uuid = kDb.uuid};
  EXPECT_EQ(registry.SettingsOf(rebooted).weight, 9u);
  EXPECT_TRUE(registry.SettingsOf(rebooted).frozen);
  EXPECT_EQ(registry.SettingsOf(kWeb), GuestSettings{});
}

TEST(GuestRegistryTest, ChangesOutliveAReloadAndTheRestIsReread) {
  GuestRegistry registry{Config{}};
  registry.Record(kDb, {.by_command = {{"weight", int64_t{9}}}});
  registry.Reload(Configured("[guest-defaults]\nweight = 5\ncap = \"1G\""));
  EXPECT_EQ(registry.SettingsOf(kDb).weight, 9u);
  EXPECT_EQ(registry.SettingsOf(kDb).cap, GiB(1));
  EXPECT_EQ(registry.SettingsOf(kWeb).weight, 5u);
}

TEST(GuestRegistryTest, PreviewChangesNothingAndRefusesContradictions) {
  GuestRegistry registry(Configured("[guest-defaults]\ncap = \"1G\""));
  const auto preview = registry.Preview(kDb, {.by_key = {{"weight", int64_t{3}}}});
  ASSERT_TRUE(preview);
  EXPECT_EQ(preview->weight, 3u);
  EXPECT_EQ(registry.SettingsOf(kDb).weight, GuestSettings{}.weight);
  EXPECT_FALSE(registry.Preview(kDb, {.by_command = {{"reserve", std::string("2G")}}}));
}

TEST(GuestRegistryTest, ChangesThatContradictAReloadedFileAreSetAside) {
  GuestRegistry registry{Config{}};
  registry.Record(kDb, {.by_command = {{"reserve", std::string("2G")}}});
  registry.Reload(Configured("[guest-defaults]\ncap = \"1G\""));
  EXPECT_EQ(registry.SettingsOf(kDb).reserve, Bytes(0));
  EXPECT_EQ(registry.SettingsOf(kDb).cap, GiB(1));
}

}  // namespace
}  // namespace tmem::daemon
