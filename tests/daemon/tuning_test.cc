#include "daemon/tuning.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/knobs.h"
#include "daemon/manual_clock.h"
#include "hypercall/fake_hypervisor.h"

namespace tmem::daemon {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

const GuestInfo kDb{.id = {7}, .name = "db1", .uuid = Uuid{{7, 7}}};

// Guests' settings, applied to a record that the test keeps.
class FakeTunable final : public Tunable {
 public:
  struct Record {
    GuestSettings settings;
    int applied = 0;
    std::map<std::string, std::string> overridden;
  };
  explicit FakeTunable(Record& record) : record_(record) {}

  Result<void> Parse(SettingChanges& changes, const std::string& name,
                     const std::string& value) const override {
    return AddChange(changes, name, value);
  }
  Result<void> Check(const SettingChanges& changes) const override {
    const auto settings = WithChanges(GuestSettings{}, changes);
    return settings ? Result<void>() : std::unexpected(settings.error());
  }
  void Apply(const SettingChanges& changes) override {
    record_.settings = WithChanges(GuestSettings{}, changes).value();
    ++record_.applied;
  }
  std::map<std::string, std::string> Overridden() const override { return record_.overridden; }
  const std::set<std::string>& sections() const override { return sections_; }

 private:
  Record& record_;
  const std::set<std::string> sections_ = {std::string(kSharedAuth)};
};

class TuningTest : public testing::Test {
 protected:
  TuningTest() { EXPECT_TRUE(tuning_.Start()); }

  void Follow(const GuestInfo& guest) {
    tuning_.Follow(guest, std::make_unique<FakeTunable>(guest_));
    Settle();
  }
  // Takes all events, and reads what changed if it is time.
  void Settle() {
    while (const auto event = directory_.NextEvent()) tuning_.Note(event->path);
    clock_.Advance(Tuning::kInterval);
    if (clock_.Now() >= tuning_.due()) tuning_.ReadChanged();
    while (const auto event = directory_.NextEvent()) tuning_.Note(event->path);
  }
  void Write(const std::string& name, const std::string& value) {
    ASSERT_TRUE(directory_.Write(Path(name), value));
    Settle();
  }
  static std::string Path(const std::string& name) {
    return fmt::format("{}/{}", GuestTuningPath(kDb.id), name);
  }

  ManualClock clock_;
  FakeDirectory directory_;
  FakeTunable::Record host_;
  FakeTunable::Record guest_;
  FakeTunable host_tunable_{host_};
  Tuning tuning_{directory_, clock_, host_tunable_};
};

TEST_F(TuningTest, KeysOfTheHostAndOfAGuestAreFollowedApart) {
  Follow(kDb);
  ASSERT_TRUE(directory_.Write("/tool/tmemd/weight", "5"));
  Write("weight", "9");
  EXPECT_EQ(host_.settings.weight, 5u);
  EXPECT_EQ(guest_.settings.weight, 9u);
  ASSERT_TRUE(directory_.Remove(Path("weight")));
  Settle();
  EXPECT_EQ(guest_.settings.weight, GuestSettings{}.weight);
  EXPECT_EQ(host_.settings.weight, 5u);
}

TEST_F(TuningTest, KeysThatAreThereBeforeTheGuestHoldFromItsFirstMoment) {
  ASSERT_TRUE(directory_.Write(Path("weight"), "9"));
  tuning_.Follow(kDb, std::make_unique<FakeTunable>(guest_));
  EXPECT_EQ(guest_.settings.weight, 9u);
}

TEST_F(TuningTest, ReasonsAreWrittenBesideTheKeyAndRemovedWhenItIsGood) {
  Follow(kDb);
  Write("weight", "9");
  Write("weight", "heavy");
  EXPECT_EQ(guest_.settings.weight, 9u);
  EXPECT_THAT(directory_.ValueOf(Path("weight-error")), HasSubstr("\"heavy\" is not allowed"));
  Write("cap", "1M");
  EXPECT_EQ(guest_.settings.cap, MiB(1));
  Write("weight", "10");
  EXPECT_EQ(guest_.settings.weight, 10u);
  EXPECT_FALSE(directory_.Exists(Path("weight-error")));
  Write("wieght", "10");
  EXPECT_THAT(directory_.ValueOf(Path("wieght-error")), HasSubstr("no setting 'wieght'"));
  ASSERT_TRUE(directory_.Remove(Path("wieght")));
  Settle();
  EXPECT_FALSE(directory_.Exists(Path("wieght-error"))) << "a key that goes takes it along";
}

TEST_F(TuningTest, ReasonsThatADaemonBeforeUsLeftAreRemoved) {
  ASSERT_TRUE(directory_.Write(Path("weight"), "9"));
  ASSERT_TRUE(directory_.Write(Path("weight-error"), "old"));
  Follow(kDb);
  EXPECT_FALSE(directory_.Exists(Path("weight-error")));
}

TEST_F(TuningTest, PoolsAreAuthorizedByAKeyEach) {
  const Uuid pool{{1, 2}};
  const std::string key = "shared-auth/" + pool.ToString();
  Follow(kDb);
  Write(key, "1");
  EXPECT_TRUE(guest_.settings.shared_auth.contains(pool));
  Write(key, "maybe");
  EXPECT_TRUE(guest_.settings.shared_auth.contains(pool));
  EXPECT_THAT(directory_.ValueOf(Path(key + "-error")), HasSubstr("not allowed"));
  Write(key, "0");
  EXPECT_THAT(guest_.settings.shared_auth, IsEmpty());
  EXPECT_FALSE(directory_.Exists(Path(key + "-error")));
  Write("shared-auth/nonsense", "1");
  EXPECT_THAT(directory_.ValueOf(Path("shared-auth/nonsense-error")), HasSubstr("is not a uuid"));
}

TEST_F(TuningTest, KeysWithoutEffectSayWhy) {
  guest_.overridden = {{"weight", "no effect: it is set"}};
  Follow(kDb);
  EXPECT_FALSE(directory_.Exists(Path("weight-error"))) << "there is no such key";
  Write("weight", "9");
  EXPECT_EQ(directory_.ValueOf(Path("weight-error")), "no effect: it is set");
  guest_.overridden.clear();
  tuning_.ReadAll();
  Settle();
  EXPECT_FALSE(directory_.Exists(Path("weight-error")));
}

TEST_F(TuningTest, GuestsMayNeitherReadNorWriteAnything) {
  Follow(kDb);
  Write("weight", "heavy");
  for (const std::string& path : {std::string(kTuningPath), std::string("/tool/tmemd/guest"),
                                  GuestTuningPath(kDb.id), Path("uuid"), Path("weight-error")}) {
    const auto permissions = directory_.PermissionsOf(path);
    EXPECT_EQ(permissions.owner, kBackendDomain) << path;
    EXPECT_FALSE(permissions.reader) << path;
  }
}

TEST_F(TuningTest, AStormOfWritesIsReadOnceInAnInterval) {
  Follow(kDb);
  Settle();
  const uint64_t before = directory_.reads();
  for (int i = 1; i <= 1000; ++i) {
    ASSERT_TRUE(directory_.Write(Path("weight"), std::to_string(i)));
    while (const auto event = directory_.NextEvent()) tuning_.Note(event->path);
    if (clock_.Now() >= tuning_.due()) tuning_.ReadChanged();
  }
  EXPECT_LE(guest_.applied, 3);
  EXPECT_LE(directory_.reads() - before, 10u);
  Settle();
  EXPECT_EQ(guest_.settings.weight, 1000u) << "the last one holds";
}

TEST_F(TuningTest, OwnWritesAreNoReasonToReadAgain) {
  Follow(kDb);
  Write("weight", "heavy");
  Settle();
  EXPECT_EQ(tuning_.due(), TimePoint::max());
  ASSERT_TRUE(directory_.Write(Path("stats/puts"), "5"));
  while (const auto event = directory_.NextEvent()) tuning_.Note(event->path);
  EXPECT_EQ(tuning_.due(), TimePoint::max());
}

TEST_F(TuningTest, FoldedEventsAreReasonToReadEverything) {
  Follow(kDb);
  ASSERT_TRUE(directory_.Write(Path("weight"), "9"));
  while (directory_.NextEvent()) {
  }
  tuning_.Note(kTuningPath);
  Settle();
  EXPECT_EQ(guest_.settings.weight, 9u);
}

TEST_F(TuningTest, ADirectoryThatDoesNotAnswerIsAskedAgain) {
  Follow(kDb);
  directory_.FailReads(ErrorCode::kUnavailable);
  Write("weight", "9");
  EXPECT_EQ(guest_.settings.weight, GuestSettings{}.weight);
  directory_.FailReads(std::nullopt);
  Settle();
  EXPECT_EQ(guest_.settings.weight, 9u);
}

TEST_F(TuningTest, AFolderGoesWithItsGuest) {
  Follow(kDb);
  Write("weight", "9");
  tuning_.Forget(kDb);
  EXPECT_FALSE(directory_.Exists(GuestTuningPath(kDb.id)));
  Settle();
  EXPECT_EQ(tuning_.due(), TimePoint::max());
}

TEST_F(TuningTest, WhatAnotherGuestOfTheDomidLeftSaysNothing) {
  Follow(kDb);
  Write("weight", "9");
  Follow({.id = kDb.id, .name = "web", .uuid = Uuid{{8, 8}}});
  EXPECT_EQ(guest_.settings.weight, GuestSettings{}.weight);
  EXPECT_EQ(directory_.ValueOf(Path("uuid")), (Uuid{{8, 8}}).ToString());
}

TEST_F(TuningTest, WhatGuestsLeftWhileNobodyWatchedIsRemoved) {
  ASSERT_TRUE(directory_.Write("/tool/tmemd/guest/8/uuid", Uuid{{8, 8}}.ToString()));
  ASSERT_TRUE(directory_.Write("/tool/tmemd/guest/8/weight", "9"));
  ASSERT_TRUE(directory_.Write("/tool/tmemd/guest/9/weight", "9"));
  Follow(kDb);
  tuning_.RemoveStrangers({kDb.id});
  EXPECT_TRUE(directory_.Exists(GuestTuningPath(kDb.id)));
  EXPECT_FALSE(directory_.Exists("/tool/tmemd/guest/8"));
  EXPECT_TRUE(directory_.Exists("/tool/tmemd/guest/9/weight")) << "prepared for a guest to come";
}

TEST_F(TuningTest, TooManyKeysAreNotRead) {
  Follow(kDb);
  for (size_t i = 0; i < 2 * Tuning::kMaxKeys; ++i) {
    ASSERT_TRUE(directory_.Write(Path(fmt::format("odd{}", i)), "1"));
  }
  const uint64_t before = directory_.reads();
  Settle();
  EXPECT_LE(directory_.reads() - before, Tuning::kMaxKeys + 4);
}

TEST_F(TuningTest, OddPathsAreNobodys) {
  Settle();
  for (const char* path : {"", "/", "/tool", "/tool/tmemdx/weight", "/tool/tmemd/guest/x/weight",
                           "/tool/tmemd/guest/99999999/weight", "/tool/tmemd/guest/4/weight"}) {
    tuning_.Note(path);
    EXPECT_EQ(tuning_.due(), TimePoint::max()) << path;
  }
}

}  // namespace
}  // namespace tmem::daemon
