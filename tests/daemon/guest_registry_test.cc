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
  EXPECT_EQ(registry.Admit(kDb), GuestSettings{});
}

TEST(GuestRegistryTest, OnlyListedGuestsAreAllowed) {
  const GuestRegistry registry(Configured("allowed-guests = [\"db1\"]"));
  EXPECT_TRUE(registry.Admit(kDb));
  EXPECT_FALSE(registry.Admit(kWeb));
}

TEST(GuestRegistryTest, AGuestIsAllowedByItsUuid) {
  const GuestRegistry registry(Configured("allowed-guests = [\"" + kWeb.uuid.ToString() + "\"]"));
  EXPECT_FALSE(registry.Admit(kDb));
  EXPECT_TRUE(registry.Admit(kWeb));
}

TEST(GuestRegistryTest, AnEmptyListAllowsNobody) {
  EXPECT_FALSE(GuestRegistry(Configured("allowed-guests = []")).Admit(kDb));
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

TEST(GuestRegistryTest, ChangesOutliveTheGuestsReboot) {
  GuestRegistry registry{Config{}};
  registry.Record(kDb, {{"weight", int64_t{9}}});
  registry.Record(kDb, {{"frozen", true}});
  const GuestInfo rebooted{.id = {17}, .name = kDb.name, .uuid = kDb.uuid};
  EXPECT_EQ(registry.SettingsOf(rebooted).weight, 9u);
  EXPECT_TRUE(registry.SettingsOf(rebooted).frozen);
  EXPECT_EQ(registry.SettingsOf(kWeb), GuestSettings{});
}

TEST(GuestRegistryTest, ChangesOutliveAReloadAndTheRestIsReread) {
  GuestRegistry registry{Config{}};
  registry.Record(kDb, {{"weight", int64_t{9}}});
  registry.Reload(Configured("[guest-defaults]\nweight = 5\ncap = \"1G\""));
  EXPECT_EQ(registry.SettingsOf(kDb).weight, 9u);
  EXPECT_EQ(registry.SettingsOf(kDb).cap, GiB(1));
  EXPECT_EQ(registry.SettingsOf(kWeb).weight, 5u);
}

TEST(GuestRegistryTest, PreviewChangesNothingAndRefusesContradictions) {
  GuestRegistry registry(Configured("[guest-defaults]\ncap = \"1G\""));
  const auto preview = registry.Preview(kDb, {{"weight", int64_t{3}}});
  ASSERT_TRUE(preview);
  EXPECT_EQ(preview->weight, 3u);
  EXPECT_EQ(registry.SettingsOf(kDb).weight, GuestSettings{}.weight);
  EXPECT_FALSE(registry.Preview(kDb, {{"reserve", std::string("2G")}}));
}

TEST(GuestRegistryTest, ChangesThatContradictAReloadedFileAreSetAside) {
  GuestRegistry registry{Config{}};
  registry.Record(kDb, {{"reserve", std::string("2G")}});
  registry.Reload(Configured("[guest-defaults]\ncap = \"1G\""));
  EXPECT_EQ(registry.SettingsOf(kDb).reserve, Bytes(0));
  EXPECT_EQ(registry.SettingsOf(kDb).cap, GiB(1));
}

}  // namespace
}  // namespace tmem::daemon
