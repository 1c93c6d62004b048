#include "daemon/stats_keys.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "daemon/key_folder.h"
#include "hypercall/fake_hypervisor.h"
#include "hypercall/loopback/tree.h"

namespace tmem::daemon {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::string Path(uint16_t id, const std::string& name) {
  return fmt::format("/tool/tmemd/guest/{}/stats/{}", id, name);
}

GuestStats StatsOf(uint16_t id) {
  GuestStats stats;
  stats.id = {id};
  return stats;
}

TEST(StatsKeysTest, FiguresAreThereAndTheGuestMayReadThem) {
  FakeDirectory directory;
  StatsKeys keys(directory);
  GuestStats stats = StatsOf(7);
  stats.charged = MiB(2);
  stats.stored[static_cast<size_t>(PageClass::kEphemeral)].pages = 3;
  stats.stored[static_cast<size_t>(PageClass::kPersistent)].pages = 4;
  stats.counters = {.puts = 10,
                    .puts_stored = 7,
                    .puts_no_memory = 2,
                    .puts_frozen = 1,
                    .gets = 6,
                    .gets_found = 5,
                    .evicted = 8};
  keys.Update(std::vector{stats});
  const std::pair<const char*, const char*> expected[] = {{"used-bytes", "2097152"},
                                                          {"ephemeral-pages", "3"},
                                                          {"persistent-pages", "4"},
                                                          {"puts", "10"},
                                                          {"puts-stored", "7"},
                                                          {"puts-refused", "3"},
                                                          {"gets", "6"},
                                                          {"gets-found", "5"},
                                                          {"evicted", "8"}};
  for (const auto& [name, value] : expected) {
    EXPECT_EQ(directory.ValueOf(Path(7, name)), value) << name;
    EXPECT_EQ(directory.PermissionsOf(Path(7, name)).owner, kBackendDomain);
    EXPECT_EQ(directory.PermissionsOf(Path(7, name)).reader, GuestId{7});
  }
}

TEST(StatsKeysTest, OnlyWhatChangedIsWritten) {
  FakeDirectory directory;
  StatsKeys keys(directory);
  GuestStats stats = StatsOf(7);
  keys.Update(std::vector{stats});
  EXPECT_THAT(directory.TakeHistory(Path(7, "puts")), ElementsAre("0"));
  EXPECT_THAT(directory.TakeHistory(Path(7, "gets")), ElementsAre("0"));
  stats.counters.puts = 1;
  keys.Update(std::vector{stats});
  keys.Update(std::vector{stats});
  EXPECT_THAT(directory.TakeHistory(Path(7, "puts")), ElementsAre("1"));
  EXPECT_THAT(directory.TakeHistory(Path(7, "gets")), IsEmpty());
}

TEST(StatsKeysTest, WhatCouldNotBeWrittenIsWrittenLater) {
  FakeDirectory directory;
  StatsKeys keys(directory);
  directory.FailWrites(ErrorCode::kUnavailable);
  keys.Update(std::vector{StatsOf(7)});
  directory.FailWrites({});
  keys.Update(std::vector{StatsOf(7)});
  EXPECT_EQ(directory.ValueOf(Path(7, "puts")), "0");
}

TEST(StatsKeysTest, TheNextGuestWithTheNumberBeginsAnew) {
  FakeDirectory directory;
  StatsKeys keys(directory);
  keys.Update(std::vector{StatsOf(7)});
  keys.Forget({7});
  ASSERT_TRUE(directory.Remove("/tool/tmemd/guest/7"));
  keys.Update(std::vector{StatsOf(7)});
  EXPECT_EQ(directory.ValueOf(Path(7, "puts")), "0");
  EXPECT_EQ(directory.PermissionsOf(Path(7, "puts")).reader, GuestId{7});
}

TEST(StatsKeysTest, ManyBusyGuestsTakeTurns) {
  FakeDirectory directory;
  StatsKeys keys(directory);
  constexpr uint16_t kGuests = 150;
  std::vector<GuestStats> guests;
  for (uint16_t id = 1; id <= kGuests; ++id) guests.push_back(StatsOf(id));
  const auto written = [&] {
    size_t count = 0;
    for (const GuestStats& guest : guests) {
      const auto puts = fmt::format("{}", guest.counters.puts);
      count += directory.ValueOf(Path(guest.id.value, "puts")) == puts ? 1 : 0;
    }
    return count;
  };
  for (uint64_t update = 1; update <= 6; ++update) {
    for (GuestStats& guest : guests) guest.counters.puts = update;
    keys.Update(guests);
    EXPECT_EQ(written(), StatsKeys::kGuestsAnUpdate);
  }
  for (const GuestStats& guest : guests) {
    EXPECT_GE(directory.TakeHistory(Path(guest.id.value, "puts")).size(), 2u)
        << "guest " << guest.id.value << " had no second turn";
  }
  keys.Update(guests);
  keys.Update(guests);
  EXPECT_EQ(written(), kGuests) << "no figure is forgotten";
}

// The tree that stands in for xenstore, as domain 0 has it.
class TreeDirectory final : public Directory {
 public:
  Result<std::string> Read(const std::string& path) override {
    return tree.Read(kBackendDomain, path);
  }
  Result<std::vector<std::string>> List(const std::string& path) override {
    return tree.List(kBackendDomain, path);
  }
  Result<void> Write(const std::string& path, const std::string& value) override {
    return tree.Write(kBackendDomain, path, value);
  }
  Result<void> WriteAll(std::span<const Node> nodes) override { return tree.WriteAll(nodes); }
  Result<void> Remove(const std::string& path) override {
    return tree.Remove(kBackendDomain, path);
  }
  Result<void> Watch(const std::string& path, const std::string& token) override {
    return tree.Watch(kBackendDomain, path, token);
  }
  Result<void> Unwatch(const std::string& path, const std::string& token) override {
    return tree.Unwatch(kBackendDomain, path, token);
  }
  int fd() const override { return -1; }
  std::optional<WatchEvent> NextEvent() override { return tree.NextEvent(kBackendDomain); }

  loopback::Tree tree;
};

TEST(StatsKeysTest, OneGuestReadsWhatNoGuestWrites) {
  constexpr GuestId kOwn{7};
  constexpr GuestId kOther{8};
  TreeDirectory directory;
  const Directory::Node folder{
      .path = "/tool/tmemd/guest/7", .value = "", .permissions = Directory::Permissions{}};
  ASSERT_TRUE(directory.WriteAll({&folder, 1}));
  ASSERT_TRUE(directory.Write("/tool/tmemd/guest/7/weight", "9"));
  StatsKeys keys(directory);
  keys.Update(std::vector{StatsOf(7), StatsOf(8)});

  loopback::Tree& tree = directory.tree;
  EXPECT_EQ(tree.Read(kOwn, Path(7, "puts")).value(), "0");
  EXPECT_EQ(tree.List(kOwn, "/tool/tmemd/guest/7/stats")->size(), 9u);
  EXPECT_EQ(tree.Read(kOther, Path(7, "puts")).error().code, ErrorCode::kDenied);
  EXPECT_EQ(tree.Read(kOwn, "/tool/tmemd/guest/7/weight").error().code, ErrorCode::kDenied);
  EXPECT_EQ(tree.Write(kOwn, Path(7, "puts"), "1").error().code, ErrorCode::kDenied);
  EXPECT_EQ(tree.Write(kOwn, Path(7, "new"), "1").error().code, ErrorCode::kDenied);
  EXPECT_EQ(tree.Remove(kOwn, Path(7, "puts")).error().code, ErrorCode::kDenied);
}

TEST(StatsKeysTest, TheyAreNoSettings) { EXPECT_TRUE(IsOwnKey("stats")); }

}  // namespace
}  // namespace tmem::daemon
