#include "daemon/service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include "hypercall/fake_hypervisor.h"
#include "hypercall/test_frontend.h"

namespace tmem::daemon {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

Config SmallConfig() {
  Config config;
  config.capacity = MiB(16);
  config.workers = 1;
  return config;
}

class ServiceTest : public testing::Test {
 protected:
  void Create(const Config& config) {
    auto hypervisor = std::make_unique<FakeHypervisor>();
    hypervisor_ = hypervisor.get();
    service_ = Service::Create(config, std::move(hypervisor), clock_).value();
    ASSERT_TRUE(service_->Start());
  }

  // Until nothing is left to handle.
  void Settle() {
    while (true) {
      std::vector<pollfd> fds;
      for (const int fd : service_->PollFds()) {
        fds.push_back({.fd = fd, .events = POLLIN, .revents = 0});
      }
      if (::poll(fds.data(), fds.size(), 0) == 0) return;
      service_->HandleEvents();
    }
  }

  GuestInfo AddGuest(uint16_t id, const std::string& name) {
    const auto guest = hypervisor_->AddGuest(id, name, Uuid{{id, id}});
    Settle();
    return guest->info();
  }

  GuestSettings SettingsOf(const GuestInfo& guest) {
    const auto stats = service_->StatsOf(guest.id);
    EXPECT_TRUE(stats);
    return stats ? stats->settings : GuestSettings{};
  }

  const SteadyClock clock_;
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
  ASSERT_TRUE(service_->Change(guest, {{"weight", int64_t{9}}, {"frozen", true}}));
  EXPECT_EQ(SettingsOf(guest).weight, 9u);
  EXPECT_TRUE(SettingsOf(guest).frozen);
  hypervisor_->RemoveGuest(1);
  Settle();
  EXPECT_EQ(SettingsOf(AddGuest(2, "db1")).weight, 9u);
}

TEST_F(ServiceTest, ContradictoryChangesChangeNothing) {
  Create(SmallConfig());
  const GuestInfo guest = AddGuest(1, "db1");
  EXPECT_FALSE(service_->Change(
      guest, {{"weight", int64_t{9}}, {"reserve", std::string("2G")}, {"cap", std::string("1G")}}));
  EXPECT_EQ(SettingsOf(guest), GuestSettings{});
  ASSERT_TRUE(service_->Change(guest, {}));
  EXPECT_EQ(SettingsOf(guest), GuestSettings{}) << "nothing was recorded either";
}

TEST_F(ServiceTest, CapacityStaysWithinItsMaximum) {
  Create(SmallConfig());
  EXPECT_EQ(service_->Host().max_capacity, MiB(64));
  EXPECT_EQ(service_->SetCapacity(MiB(64)), MiB(64));
  const auto more = service_->SetCapacity(MiB(65));
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
  EXPECT_EQ(service_->Host().log_level, LogLevel::kError);
  EXPECT_EQ(SettingsOf(guest).weight, 5u);
  EXPECT_EQ(service_->Host().workers, 1u);
  EXPECT_THAT(service_->Reload(config), Contains("workers")) << "still waits for a restart";
  service_->SetLogLevel(LogLevel::kInfo);
}

TEST_F(ServiceTest, ReloadKeepsWhatTheAdministratorSetSince) {
  Create(SmallConfig());
  const GuestInfo guest = AddGuest(1, "db1");
  ASSERT_TRUE(service_->SetCapacity(MiB(20)));
  ASSERT_TRUE(service_->Change(guest, {{"weight", int64_t{9}}}));
  EXPECT_TRUE(service_->Reload(SmallConfig()).empty());
  EXPECT_EQ(service_->Host().store.capacity, MiB(20));
  EXPECT_EQ(SettingsOf(guest).weight, 9u);
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
