#include "daemon/recompression.h"

#include <gtest/gtest.h>

#include <thread>

#include "daemon/manual_clock.h"
#include "pools/store_fixture.h"

namespace tmem::daemon {
namespace {

using enum PageClass;
using std::chrono::seconds;

class RecompressionThreadTest : public StoreTest {
 protected:
  RecompressionThreadTest() {
    for (auto& mode : settings_.compress) mode = CompressMode::kAuto;
    settings_.compress_cpu = 100;
  }
  // Until so many persistent pages of guest 1 are compressed.
  void AwaitCompressed(uint64_t pages) {
    while (StatsOf(1).stored[1].compressed < pages) std::this_thread::yield();
  }

  ManualClock clock_;
  GuestSettings settings_;
};

TEST_F(RecompressionThreadTest, CompressesWhatIsPutWhileItSleeps) {
  const Recompression thread(*store_, clock_, {});
  const auto guest = AddGuest(1, settings_);
  const PoolId pool = NewPool(guest, kPersistent);
  for (uint32_t i = 0; i < 20; ++i) {
    ASSERT_EQ(Put(guest, pool, 1, i, i, PageLook::kText), PutStatus::kStored);
    AwaitCompressed(i + 1);
  }
  for (uint32_t i = 0; i < 20; ++i) EXPECT_TRUE(Has(guest, pool, 1, i, i, PageLook::kText));
}

TEST_F(RecompressionThreadTest, LooksAtNewSettingsWhenWoken) {
  Recompression thread(*store_, clock_, {});
  const auto guest = AddGuest(1);
  const PoolId pool = NewPool(guest, kPersistent);
  for (uint32_t i = 0; i < 20; ++i) Put(guest, pool, 1, i, i, PageLook::kText);
  EXPECT_EQ(StatsOf(1).stored[1].compressed, 0);
  ASSERT_TRUE(store_->Configure(GuestId{1}, settings_));
  thread.Wake();
  AwaitCompressed(20);
}

TEST_F(RecompressionThreadTest, EndsWhileThereIsMuchToDo) {
  settings_.compress_cpu = 1;
  const auto guest = AddGuest(1, settings_);
  const PoolId pool = NewPool(guest, kPersistent);
  const Recompression thread(*store_, clock_, {});
  for (uint32_t i = 0; i < 10'000; ++i) {
    ASSERT_EQ(Put(guest, pool, 1, i, i, PageLook::kText), PutStatus::kStored);
  }
}

}  // namespace
}  // namespace tmem::daemon
