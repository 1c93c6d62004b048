#include "daemon/service.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <fstream>

#include "daemon/guest_files.h"
#include "daemon/manual_clock.h"
#include "daemon/temporary_folder.h"
#include "hypercall/fake_hypervisor.h"
#include "hypercall/log_capture.h"
#include "hypercall/test_frontend.h"
#include "pools/tmpfs_folder.h"

namespace tmem::daemon {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

void AwaitAnswers(FrontQueue& queue, int count) {
  while (count > 0) {
    if (queue.Take()) {
      --count;
    } else if (!queue.Arm()) {
      ASSERT_TRUE(queue.Sleep());
    }
  }
}

Config SmallConfig() {
  Config config;
  config.capacity = MiB(16);
  config.workers = 1;
  return config;
}

SettingEdits Capacity(const std::string& size) { return {.changes = {{"capacity", size}}}; }

class ServiceTest : public testing::Test {
 protected:
  void Create(const Config& config,
              std::unique_ptr<FakeHypervisor> hypervisor = std::make_unique<FakeHypervisor>()) {
    service_.reset();  // the one before lets go of its store
    hypervisor_ = hypervisor.get();
    service_ =
        Service::Create(config, std::move(hypervisor), clock_, Dom0Memory(proc_.Path(""))).value();
    ASSERT_TRUE(service_->Start());
  }

  // Until nothing is left to handle.
  void Settle() {
    while (true) {
      std::vector<pollfd> fds;
      for (const int fd : service_->PollFds()) {
        fds.push_back({.fd = fd, .events = POLLIN, .revents = 0});
      }
      clock_.Advance(Tuning::kInterval);
      service_->DoWhatIsDue();
      if (::poll(fds.data(), fds.size(), 0) == 0) return;
      service_->HandleEvents();
    }
  }

  // A key at or below /tool/tmemd.
  void Write(const std::string& key, const std::string& value) {
    ASSERT_TRUE(hypervisor_->directory().Write(fmt::format("{}/{}", kTuningPath, key), value));
    Settle();
  }
  std::string ErrorOf(const std::string& key) {
    return hypervisor_->directory().ValueOf(fmt::format("{}/{}-error", kTuningPath, key));
  }

  GuestInfo AddGuest(uint16_t id, const std::string& name) {
    return AddGuest(id, name, Uuid{{id, id}});
  }
  GuestInfo AddGuest(uint16_t id, const std::string& name, const Uuid& uuid) {
    const auto guest = hypervisor_->AddGuest(id, name, uuid);
    Settle();
    return guest->info();
  }

  GuestSettings SettingsOf(const GuestInfo& guest) {
    const auto stats = service_->StatsOf(guest.id);
    EXPECT_TRUE(stats);
    return stats ? stats->settings : GuestSettings{};
  }

  const TemporaryFolder proc_;
  ManualClock clock_;
  FakeHypervisor* hypervisor_ = nullptr;
  std::unique_ptr<Service> service_;
};

TEST_F(ServiceTest, ServesAGuestFromItsAppearanceToItsEnd) {
  Create(SmallConfig());
  const auto guest = hypervisor_->AddGuest(7, "db1", Uuid{{7, 7}});
  Settle();
  TestFrontend frontend(*hypervisor_, guest);
  frontend.Initialise();
  Settle();
  ASSERT_TRUE(service_->Find("db1"));
  EXPECT_EQ(service_->Find("db1")->state, "connected");
  EXPECT_EQ(service_->Find("7")->guest.name, "db1");
  EXPECT_FALSE(service_->Find("8"));

  FrontQueue& queue = frontend.queue();
  queue.Produce(NewPoolRequest(kPersistentPool));
  queue.Publish();
  while (!queue.Take()) {
    if (!queue.Arm()) {
      ASSERT_TRUE(queue.Sleep());
    }
  }
  EXPECT_EQ(service_->StatsOf({7})->pools.size(), 1u);
  EXPECT_THAT(service_->StatusLine(), HasSubstr("1 guests"));
  EXPECT_TRUE(service_->Responsive());

  hypervisor_->RemoveGuest(7);
  Settle();
  EXPECT_FALSE(service_->Find("db1"));
  EXPECT_FALSE(service_->StatsOf({7}));
}

TEST_F(ServiceTest, GuestsFiguresAreKeptAndToldAsTimePasses) {
  Create(SmallConfig());
  const auto guest = hypervisor_->AddGuest(7, "db1", Uuid{{7, 7}});
  Settle();
  TestFrontend frontend(*hypervisor_, guest);
  frontend.Initialise();
  Settle();
  const std::string key = GuestTuningPath({7}) + "/stats/gets";
  clock_.Advance(std::chrono::seconds(1));
  Settle();
  EXPECT_EQ(hypervisor_->directory().ValueOf(key), "0");

  FrontQueue& queue = frontend.queue();
  queue.Produce(NewPoolRequest(kPersistentPool));
  queue.Produce(GetRequest(0, ObjectId{}, 0, 0));
  queue.Publish();
  AwaitAnswers(queue, 2);
  clock_.Advance(std::chrono::seconds(10));
  Settle();
  EXPECT_EQ(hypervisor_->directory().ValueOf(key), "1");
  const auto history = service_->HistoryOf({7});
  ASSERT_TRUE(history);
  ASSERT_FALSE(history->empty());
  EXPECT_EQ(history->front().gets, 1u);
  EXPECT_FALSE(service_->HistoryOf({8}));

  hypervisor_->RemoveGuest(7);
  Settle();
  EXPECT_FALSE(service_->HistoryOf({7}));
  EXPECT_FALSE(hypervisor_->directory().Exists(key));
  AddGuest(7, "another");
  EXPECT_THAT(*service_->HistoryOf({7}), testing::Each(testing::Field(&History::Sample::gets, 0)));
}

TEST_F(ServiceTest, ADamagedPageIsToldOfBeforeAnybodyGetsIt) {
  const TmpfsFolder folder;
  Config config = SmallConfig();
  config.store_path = folder.store();
  Create(config);
  const auto guest = hypervisor_->AddGuest(7, "db1", Uuid{{7, 7}});
  Settle();
  TestFrontend frontend(*hypervisor_, guest);
  frontend.Initialise();
  Settle();
  FrontQueue& queue = frontend.queue();
  queue.Produce(NewPoolRequest(kPersistentPool));
  queue.Produce(PutRequest(0, ObjectId{{0xa, 0xb, 0xc}}, 5, 0));
  queue.Publish();
  AwaitAnswers(queue, 2);
  const auto scrub_a_second = [this] {
    clock_.Advance(std::chrono::seconds(1));
    Settle();
    return service_->Host().store.scrub;
  };
  const ScrubProgress before = scrub_a_second();
  EXPECT_GT(before.pages, 0);
  EXPECT_EQ(before.corrupt, 0);

  std::fstream segments(folder.FileOf("segments"));
  segments.put('!');  // the first byte of the first payload
  segments.close();
  const LogCapture log;
  EXPECT_GT(scrub_a_second().corrupt, 0);
  EXPECT_THAT(log.text(), HasSubstr("guest 7: page 5 of object a:b:c in pool 0 does not match"));

  config.scrub_hours = 0;
  service_->Reload(config);
  const uint64_t checked = scrub_a_second().pages;
  EXPECT_EQ(scrub_a_second().pages, checked) << "it is off";
}

TEST_F(ServiceTest, AdmitsOnlyWhomTheConfigurationAllows) {
  Config config = SmallConfig();
  config.allowed_guests = {"db1"};
  Create(config);
  AddGuest(1, "db1");
  AddGuest(2, "web");
  EXPECT_TRUE(service_->Find("db1"));
  EXPECT_FALSE(service_->Find("web"));
}

TEST_F(ServiceTest, ChangesHoldAtOnceAndAfterAReboot) {
  Create(SmallConfig());
  const GuestInfo guest = AddGuest(1, "db1");
  ASSERT_TRUE(service_->Change(guest, {.changes = {{"weight", int64_t{9}}, {"frozen", true}}},
                               Persist::kNo));
  EXPECT_EQ(SettingsOf(guest).weight, 9u);
  EXPECT_TRUE(SettingsOf(guest).frozen);
  hypervisor_->RemoveGuest(1);
  Settle();
  EXPECT_EQ(SettingsOf(AddGuest(2, "db1", guest.uuid)).weight, 9u);
  hypervisor_->RemoveGuest(2);
  EXPECT_EQ(SettingsOf(AddGuest(3, "db1")).weight, 100u) << "another guest of that name";
}

TEST_F(ServiceTest, WhatCommandsSetLivesAsLongAsTheStore) {
  const TmpfsFolder folder;
  Config config = SmallConfig();
  config.store_path = folder.store();
  Create(config);
  const GuestInfo guest = AddGuest(1, "db1");
  ASSERT_TRUE(service_->Change(guest, {.changes = {{"weight", int64_t{9}}}}, Persist::kNo));
  ASSERT_TRUE(service_->ChangeHost(Capacity("8M")));

  Create(config);
  EXPECT_EQ(service_->Host().store.capacity, MiB(8));
  EXPECT_EQ(SettingsOf(AddGuest(1, "db1", guest.uuid)).weight, 9u);
  ASSERT_TRUE(service_->ChangeHost({.undone = {"capacity"}}));
  ASSERT_TRUE(service_->Change(guest, {.undone = {"weight"}}, Persist::kNo));

  Create(config);
  EXPECT_EQ(service_->Host().store.capacity, MiB(16));
  EXPECT_EQ(SettingsOf(AddGuest(1, "db1", guest.uuid)).weight, 100u);
}

TEST_F(ServiceTest, ContradictoryChangesChangeNothing) {
  Create(SmallConfig());
  const GuestInfo guest = AddGuest(1, "db1");
  EXPECT_FALSE(service_->Change(guest,
                                {.changes = {{"weight", int64_t{9}},
                                             {"reserve", std::string("2G")},
                                             {"cap", std::string("1G")}}},
                                Persist::kNo));
  EXPECT_EQ(SettingsOf(guest), GuestSettings{});
  ASSERT_TRUE(service_->Change(guest, {}, Persist::kNo));
  EXPECT_EQ(SettingsOf(guest), GuestSettings{}) << "nothing was recorded either";
}

TEST_F(ServiceTest, CapacityStaysWithinItsMaximum) {
  Create(SmallConfig());
  EXPECT_EQ(service_->Host().max_capacity, MiB(64));
  EXPECT_TRUE(service_->ChangeHost(Capacity("64M")));
  const auto more = service_->ChangeHost(Capacity("65M"));
  ASSERT_FALSE(more);
  EXPECT_THAT(more.error().message, HasSubstr("max-capacity, 64M"));
  EXPECT_EQ(service_->Host().store.capacity, MiB(64));
}

TEST_F(ServiceTest, ReloadAppliesWhatCanChange) {
  Create(SmallConfig());
  const GuestInfo guest = AddGuest(1, "db1");
  Config config = SmallConfig();
  config.capacity = MiB(32);
  config.log_level = LogLevel::kError;
  config.guest_defaults.weight = 5;
  config.workers = 3;
  config.control_socket = "/elsewhere";
  EXPECT_THAT(service_->Reload(config), ElementsAre("workers", "control.socket"));
  EXPECT_EQ(service_->Host().store.capacity, MiB(32));
  EXPECT_EQ(service_->Host().config.log_level, LogLevel::kError);
  EXPECT_EQ(SettingsOf(guest).weight, 5u);
  EXPECT_EQ(service_->Host().workers, 1u);
  EXPECT_THAT(service_->Reload(config), Contains("workers")) << "still waits for a restart";
  SetLogLevel(LogLevel::kInfo);
}

TEST_F(ServiceTest, ReloadKeepsWhatTheAdministratorSetSince) {
  Create(SmallConfig());
  const GuestInfo guest = AddGuest(1, "db1");
  ASSERT_TRUE(service_->ChangeHost(Capacity("20M")));
  ASSERT_TRUE(service_->Change(guest, {.changes = {{"weight", int64_t{9}}}}, Persist::kNo));
  EXPECT_TRUE(service_->Reload(SmallConfig()).empty());
  EXPECT_EQ(service_->Host().store.capacity, MiB(20));
  EXPECT_EQ(SettingsOf(guest).weight, 9u);
}

TEST_F(ServiceTest, KeysOfXenstoreTuneRunningGuests) {
  Create(SmallConfig());
  const GuestInfo guest = AddGuest(1, "db1");
  Write("guest/1/weight", "9");
  Write("capacity", "32M");
  Write("guest-defaults/compress", "off");
  EXPECT_EQ(SettingsOf(guest).weight, 9u);
  EXPECT_EQ(SettingsOf(guest).compress[0], CompressMode::kOff);
  EXPECT_EQ(service_->Host().store.capacity, MiB(32));

  Write("capacity", "65M");
  EXPECT_THAT(ErrorOf("capacity"), HasSubstr("above max-capacity, 64M"));
  EXPECT_EQ(service_->Host().store.capacity, MiB(32));
  Write("workers", "3");
  EXPECT_THAT(ErrorOf("workers"), HasSubstr("cannot change while tmemd runs"));
}

TEST_F(ServiceTest, AKeyUnderACommandSaysThatItHasNoEffect) {
  Create(SmallConfig());
  const GuestInfo guest = AddGuest(1, "db1");
  ASSERT_TRUE(service_->Change(guest, {.changes = {{"weight", int64_t{9}}}}, Persist::kNo));
  Write("guest/1/weight", "5");
  EXPECT_EQ(SettingsOf(guest).weight, 9u);
  EXPECT_EQ(ErrorOf("guest/1/weight"),
            "no effect: tmemctl set weight to 9; `tmemctl set db1 weight=default` takes that back");
  ASSERT_TRUE(service_->Change(guest, {.undone = {"weight"}}, Persist::kNo));
  EXPECT_EQ(SettingsOf(guest).weight, 5u);
  Settle();
  EXPECT_EQ(ErrorOf("guest/1/weight"), "");
}

TEST_F(ServiceTest, KeysGoWithTheGuest) {
  Create(SmallConfig());
  AddGuest(1, "db1");
  Write("guest/1/weight", "9");
  hypervisor_->RemoveGuest(1);
  Settle();
  EXPECT_FALSE(hypervisor_->directory().Exists("/tool/tmemd/guest/1"));
  EXPECT_EQ(SettingsOf(AddGuest(1, "db1")).weight, GuestSettings{}.weight);
}

TEST_F(ServiceTest, APersistedChangeIsTheFilesFromThenOn) {
  const TemporaryFolder folder;
  Config config = SmallConfig();
  config.guest_folder = folder.Path("guests.d");
  Create(config);
  const GuestInfo guest = AddGuest(1, "db1");
  ASSERT_TRUE(service_->Change(guest, {.changes = {{"weight", int64_t{9}}}}, Persist::kYes));
  EXPECT_EQ(SettingsOf(guest).weight, 9u);
  config.guest_files["db1"] = {{"weight", int64_t{4}}};
  service_->Reload(config);
  EXPECT_EQ(SettingsOf(guest).weight, 4u) << "whoever edits the file is heard";
  Write("guest/1/weight", "5");
  ASSERT_TRUE(service_->Change(guest, {.changes = {{"weight", int64_t{6}}}}, Persist::kYes));
  EXPECT_EQ(SettingsOf(guest).weight, 6u) << "over the key, too";
  EXPECT_EQ(ReadGuestFiles(config.guest_folder)->at("db1").at("weight"), KnobValue(int64_t{6}));
}

TEST_F(ServiceTest, AChangeThatCannotBePersistedIsNotMade) {
  const TemporaryFolder folder;
  Config config = SmallConfig();
  config.guest_folder = folder.Write("guests.d", "a file");
  Create(config);
  const GuestInfo guest = AddGuest(1, "db1");
  EXPECT_FALSE(service_->Change(guest, {.changes = {{"weight", int64_t{9}}}}, Persist::kYes));
  EXPECT_EQ(SettingsOf(guest).weight, GuestSettings{}.weight);
}

TEST_F(ServiceTest, ReclaimLowersTheCapacityToWhatIsInUse) {
  Create(SmallConfig());
  const Reclaimed nothing = service_->Reclaim(MiB(8));
  EXPECT_EQ(nothing.given_back, Bytes(0));
  EXPECT_EQ(nothing.capacity_before, MiB(16));
  EXPECT_EQ(nothing.capacity, MiB(1)) << "the least that a store can have";
  EXPECT_EQ(service_->Host().config.capacity, MiB(1));
  ASSERT_TRUE(service_->ChangeHost({.undone = {"capacity"}}));
  EXPECT_EQ(service_->Host().store.capacity, MiB(16));
}

TEST_F(ServiceTest, WhatAGuestSurrenderedEntitlesIt) {
  Config config = SmallConfig();
  config.policy.kind = PolicyKind::kSurrender;
  config.guest_defaults.surrendered = MiB(3);
  Create(config);
  AddGuest(1, "observed");
  AddGuest(2, "told");
  hypervisor_->surrendered = {{{1}, MiB(5)}, {{9}, MiB(9)}};
  clock_.Advance(std::chrono::seconds(1));
  service_->DoWhatIsDue();
  EXPECT_GT(service_->due(), clock_.Now());
  EXPECT_EQ(service_->ShareOf({1})->entitled, MiB(5));
  EXPECT_EQ(service_->ShareOf({2})->entitled, MiB(3));
  config.policy.surrender_percent = 200;
  EXPECT_TRUE(service_->Reload(config).empty());
  EXPECT_EQ(service_->ShareOf({1})->entitled, MiB(10));
  Write("policy", "max-min");
  EXPECT_EQ(service_->ShareOf({1})->policy, PolicyKind::kMaxMin);
}

TEST_F(ServiceTest, ACapacityFollowsTheHostIfItIsTold) {
  proc_.Write("meminfo", "MemAvailable: 1048576 kB\n");
  auto hypervisor = std::make_unique<FakeHypervisor>();
  PhysicalMemory& memory = hypervisor->memory.emplace();
  // A daemon before this one has borrowed 56 MiB.
  const Bytes own = GiB(1);
  memory = {.free = GiB(2), .held = own + MiB(56), .target = own + MiB(56), .maximum = GiB(4)};
  FakeDirectory& directory = hypervisor->directory();
  for (const auto& [name, bytes] :
       {std::pair("borrowed-bytes", MiB(56)), std::pair("dom0-target-bytes", memory.target)}) {
    ASSERT_TRUE(directory.Write(fmt::format("{}/stats/{}", kTuningPath, name),
                                fmt::format("{}", bytes.value)));
  }
  Config config = SmallConfig();
  config.max_capacity = MiB(64);
  config.min_capacity = MiB(8);
  config.capacity.reset();
  Create(config, std::move(hypervisor));
  EXPECT_EQ(service_->Host().store.capacity, MiB(64));
  clock_.Advance(std::chrono::seconds(1));
  Settle();
  ASSERT_TRUE(service_->Host().following);
  EXPECT_EQ(service_->Host().following->problem, "");
  EXPECT_EQ(service_->Host().following->borrowed, MiB(56));

  // One that lowers domain 0's target by itself is heard.
  memory.target -= MiB(20);
  ASSERT_TRUE(directory.Write(std::string(kBackendTargetPath), "news"));
  Settle();
  EXPECT_EQ(service_->Host().following->cause, Cause::kTaken);
  EXPECT_EQ(service_->Host().store.capacity, MiB(44));

  Write("free-request", "2076M");
  EXPECT_EQ(service_->Host().following->cause, Cause::kRequested);
  EXPECT_EQ(service_->Host().following->borrowed, Bytes(0));
  EXPECT_EQ(service_->Host().store.capacity, MiB(8));
  EXPECT_EQ(memory.target, own);
  Write("free-request", "much");
  EXPECT_THAT(ErrorOf("free-request"), HasSubstr("is not allowed"));

  Write("capacity", "16M");
  EXPECT_FALSE(service_->Host().following);
  EXPECT_EQ(service_->Host().store.capacity, MiB(16));
  Write("capacity", "auto");
  EXPECT_TRUE(service_->Host().following);
  EXPECT_EQ(service_->Host().store.capacity, MiB(8));
}

TEST_F(ServiceTest, AFixedCapacityReturnsWhatADaemonBeforeHadBorrowed) {
  proc_.Write("meminfo", "MemAvailable: 1048576 kB\n");
  auto hypervisor = std::make_unique<FakeHypervisor>();
  PhysicalMemory& memory = hypervisor->memory.emplace();
  memory = {.free = GiB(2), .held = GiB(1), .target = GiB(1), .maximum = GiB(4)};
  for (const auto& [name, bytes] :
       {std::pair("borrowed-bytes", MiB(100)), std::pair("dom0-target-bytes", GiB(1))}) {
    ASSERT_TRUE(hypervisor->directory().Write(fmt::format("{}/stats/{}", kTuningPath, name),
                                              fmt::format("{}", bytes.value)));
  }
  Create(SmallConfig(), std::move(hypervisor));
  clock_.Advance(std::chrono::seconds(1));
  Settle();
  EXPECT_EQ(memory.target, GiB(1) - MiB(100));
  EXPECT_FALSE(service_->Host().following);
}

TEST_F(ServiceTest, RefusesACapacityThatNoStoreCanHave) {
  Config config = SmallConfig();
  config.capacity = Bytes(1);
  const auto service = Service::Create(config, std::make_unique<FakeHypervisor>(), clock_);
  EXPECT_FALSE(service);
}

TEST_F(ServiceTest, ForgivesAGuestThatBrokeTheProtocol) {
  Create(SmallConfig());
  const auto guest = hypervisor_->AddGuest(1, "db1", Uuid{{1, 1}});
  Settle();
  TestFrontend frontend(*hypervisor_, guest);
  frontend.MakeQueues();
  frontend.WriteKeys();
  frontend.WriteKey("num-queues", "-1");
  frontend.SetState(XenbusState::kInitialised);
  Settle();
  ASSERT_EQ(service_->Find("db1")->state, "violated");
  EXPECT_FALSE(service_->Find("db1")->reason.empty());
  EXPECT_TRUE(service_->Forgive({1}));
  Settle();
  EXPECT_NE(service_->Find("db1")->state, "violated");
}

}  // namespace
}  // namespace tmem::daemon
