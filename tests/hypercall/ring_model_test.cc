// Several guests with several queues and threads on each side, against a plain model, while one
// guest does what it should not.
//
// TMEM_MODEL_OPS sets how many operations each guest makes, TMEM_MODEL_SEED with which seed.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "hypercall/backend.h"
#include "hypercall/fake_hypervisor.h"
#include "hypercall/hostile_guest.h"
#include "hypercall/log_capture.h"
#include "hypercall/ring_model.h"
#include "hypercall/test_frontend.h"
#include "hypercall/worker_threads.h"
#include "pools/store.h"

namespace tmem {
namespace {

constexpr uint64_t kDefaultOps = 60'000;
constexpr uint16_t kGuests = 3;
constexpr uint32_t kQueues = 2;
constexpr uint16_t kHostile = 9;
constexpr Uuid kSharedUuid{{11, 12}};

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

struct Scene {
  const char* name;
  bool scarce;
  bool hostile;
  bool shared;
  bool freezing;
};

class RingModelTest : public testing::TestWithParam<Scene> {
 protected:
  RingModelTest() {
    const Store::Config config{.capacity = GetParam().scarce ? MiB(3) : MiB(256)};
    store_ = std::move(Store::Create(config).value());
    // Its tries to connect again are slowed down in earnest; here they are what is tested.
    backend_ = std::make_unique<Backend>(
        hypervisor_, *store_, workers_, clock_,
        [](const GuestInfo&) { return std::optional(SettingsOf(false)); }, WireLimits{});
    EXPECT_TRUE(backend_->Start());
  }

  static GuestSettings SettingsOf(bool frozen) {
    GuestSettings settings;
    settings.frozen = frozen;
    settings.shared_auth.insert(kSharedUuid);
    return settings;
  }
  void Settle() {
    for (int i = 0; i < 4; ++i) backend_->HandleEvents();
  }
  void Boot(uint16_t domid) {
    frontends_.push_back(std::make_unique<TestFrontend>(
        hypervisor_, hypervisor_.AddGuest(domid, "guest" + std::to_string(domid), Uuid{{domid}}),
        FrontendOptions{.queues = kQueues}));
    Settle();
    frontends_.back()->Initialise();
    Settle();
    ASSERT_EQ(frontends_.back()->BackendState(), XenbusState::kConnected);
  }
  void RunGuests(uint64_t seed);

  LogCapture log_;
  FakeHypervisor hypervisor_;
  SteadyClock clock_;
  SharedBoard board_;
  std::unique_ptr<Store> store_;
  WorkerThreads workers_{2};
  std::unique_ptr<Backend> backend_;
  std::vector<std::unique_ptr<TestFrontend>> frontends_;
};

void RingModelTest::RunGuests(uint64_t seed) {
  const uint64_t operations = FromEnvironment("TMEM_MODEL_OPS", kDefaultOps);
  std::vector<std::unique_ptr<RingModel>> models;
  for (uint16_t i = 0; i < kGuests; ++i) {
    Boot(static_cast<uint16_t>(i + 1));
    models.push_back(std::make_unique<RingModel>(
        *frontends_.back(), kQueues, board_,
        RingModel::Config{
            .seed = seed + i * 1'000'003,
            .operations = operations,
            .scarce = GetParam().scarce,
            .may_freeze = GetParam().freezing && i == 0,
            .shared_uuid = GetParam().shared ? std::optional(kSharedUuid) : std::nullopt}));
  }
  std::atomic<int> running{kGuests};
  std::mutex mutex;
  std::vector<std::string> failures;
  std::vector<std::thread> threads;
  for (const auto& model : models) {
    threads.emplace_back([&, guest = model.get()] {
      try {
        guest->Run();
      } catch (const std::runtime_error& error) {
        const std::lock_guard lock(mutex);
        failures.emplace_back(error.what());
      }
      --running;
    });
  }
  std::optional<HostileGuest> hostile;
  if (GetParam().hostile) hostile.emplace(hypervisor_, *backend_, kHostile, seed);
  bool frozen = false;
  while (running > 0 || (hostile && !hostile->satisfied())) {
    backend_->HandleEvents();
    if (hostile) hostile->Turn();
    if (GetParam().freezing) {
      frozen = !frozen;
      EXPECT_TRUE(store_->Configure(GuestId{1}, SettingsOf(frozen)));
    }
    std::this_thread::yield();
  }
  for (std::thread& thread : threads) thread.join();
  uint64_t hits = 0;
  uint64_t losses = 0;
  for (const auto& model : models) {
    hits += model->hits();
    losses += model->losses();
  }
  for (const std::string& failure : failures) ADD_FAILURE() << failure;
  if (!failures.empty()) return;
  EXPECT_GT(hits, operations / 20) << "the guests found next to nothing";
  std::printf("[ OPERATIONS ] %llu, pages found: %llu\n",
              static_cast<unsigned long long>(operations * kGuests),
              static_cast<unsigned long long>(hits));
  if (!GetParam().scarce) {
    EXPECT_EQ(losses, 0u);
  }
  if (hostile) {
    EXPECT_GT(hostile->violations(), 0u) << "nothing hostile was noticed";
    EXPECT_GT(hostile->requests(), 100u) << "next to nothing hostile was executed";
  }
  for (const ConnectionInfo& info : backend_->Connections()) {
    if (info.guest.id == GuestId{kHostile}) continue;
    EXPECT_EQ(info.state, "connected") << info.reason;
  }
}

TEST_P(RingModelTest, EveryAnswerIsOneThatTheRulesAllow) {
  const uint64_t seed = FromEnvironment("TMEM_MODEL_SEED", std::random_device{}());
  SCOPED_TRACE("TMEM_MODEL_SEED=" + std::to_string(seed));
  RunGuests(seed);
}

INSTANTIATE_TEST_SUITE_P(
    Scenes, RingModelTest,
    testing::Values(Scene{"Plenty", false, false, false, false},
                    Scene{"PlentyBesideAHostileGuest", false, true, false, false},
                    Scene{"Scarcity", true, false, false, false},
                    Scene{"SharedPools", false, false, true, false},
                    Scene{"Freezing", false, false, false, true},
                    Scene{"EverythingAtOnce", true, true, true, true}),
    [](const testing::TestParamInfo<Scene>& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace tmem
