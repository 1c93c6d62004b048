#include "pools/recompressor.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <chrono>
#include <map>

#include "pools/store_fixture.h"

namespace tmem {
namespace {

using enum PageClass;
using std::chrono::milliseconds;
using std::chrono::seconds;

GuestSettings AutoSettings() {
  GuestSettings settings;
  for (auto& mode : settings.compress) mode = CompressMode::kAuto;
  return settings;
}

// Every look at the processor's time finds that a millisecond of it went.
class RecompressorTest : public StoreTest {
 protected:
  TimePoint Run(TimePoint now) {
    return recompressor_.Run(now, [this](GuestId id) { return FirstFrom(id); }, codec_);
  }
  std::shared_ptr<Guest> FirstFrom(GuestId id) const {
    const auto at = guests_.lower_bound(id);
    return at == guests_.end() ? nullptr : at->second;
  }
  PoolId Join(uint16_t id, const GuestSettings& settings, PageClass page_class = kPersistent) {
    const auto guest = guests_[GuestId{id}] = AddGuest(id, settings);
    return NewPool(guest, page_class);
  }
  void PutTexts(uint16_t id, PoolId pool, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      ASSERT_EQ(Put(guests_[GuestId{id}], pool, 1, i, i, PageLook::kText), PutStatus::kStored);
    }
  }
  uint64_t Waiting(uint16_t id) { return StatsOf(id).recompressed.waiting; }
  void TearDown() override { guests_.clear(); }

  std::map<GuestId, std::shared_ptr<Guest>> guests_;
  Duration cpu_{};
  Recompressor recompressor_{[this] { return cpu_ += milliseconds(1); }};
  const TimePoint start_{seconds(1000)};
};

TEST_F(RecompressorTest, HasNothingToDoForGuestsOfOtherModes) {
  EXPECT_EQ(Run(start_), TimePoint::max());
  const PoolId pool = Join(1, RawSettings());
  PutTexts(1, pool, 10);
  EXPECT_EQ(Run(start_), TimePoint::max());
  EXPECT_EQ(StatsOf(1).stored[1].compressed, 0);
}

TEST_F(RecompressorTest, WorksOffWhatWasPut) {
  const PoolId pool = Join(3, AutoSettings());
  PutTexts(3, pool, 50);
  EXPECT_EQ(Waiting(3), 50);
  TimePoint due = start_;
  while (due == start_) due = Run(start_);
  EXPECT_EQ(Waiting(3), 0);
  EXPECT_EQ(StatsOf(3).stored[1].compressed, 50);
  EXPECT_GT(StatsOf(3).recompressed.cpu_ns, 0);
  EXPECT_EQ(due, start_ + seconds(AutoSettings().dense_after)) << "when pages have stayed";
}

TEST_F(RecompressorTest, MakesDenseWhatStayed) {
  constexpr uint32_t kPages = Dictionary::kMaxSamples;
  const PoolId pool = Join(3, AutoSettings());
  PutTexts(3, pool, kPages);
  // One pass counts the pages, the next one has a dictionary and marks them.
  TimePoint now = start_;
  const auto settled = [this] {
    return StatsOf(3).recompressed.made_dense + StatsOf(3).recompressed.left;
  };
  while (settled() < kPages) {
    now = std::max(Run(now), now + milliseconds(1));
    ASSERT_LT(now - start_, seconds(4 * AutoSettings().dense_after));
    if (now - start_ < seconds(AutoSettings().dense_after)) {
      ASSERT_EQ(StatsOf(3).recompressed.made_dense, 0);
    }
  }
  EXPECT_GT(StatsOf(3).stored[1].dense, kPages / 2);
  for (uint32_t i = 0; i < kPages; ++i) {
    ASSERT_TRUE(Has(guests_[GuestId{3}], pool, 1, i, i, PageLook::kText));
  }
}

TEST_F(RecompressorTest, NeverMakesDenseWhatIsNotToBe) {
  GuestSettings settings = AutoSettings();
  settings.dense_after = 0;
  const PoolId pool = Join(3, settings);
  PutTexts(3, pool, 50);
  while (Run(start_) == start_) {
  }
  EXPECT_EQ(Run(start_ + seconds(10'000)), TimePoint::max());
  EXPECT_EQ(StatsOf(3).stored[1].dense, 0);
}

// Two guests have always more to do; each gets its percentage, however often it is asked for.
TEST_F(RecompressorTest, SpendsNoMoreThanItsBudget) {
  GuestSettings ten = AutoSettings();
  ten.compress_cpu = 10;
  GuestSettings forty = AutoSettings();
  forty.compress_cpu = 40;
  const PoolId first = Join(1, ten);
  const PoolId second = Join(2, forty);
  PutTexts(1, first, 8'000);
  PutTexts(2, second, 8'000);
  constexpr Duration kTime = seconds(2);
  for (Duration time{0}; time < kTime; time += milliseconds(1)) Run(start_ + time);
  const auto spent = [&](uint16_t id) {
    return std::chrono::nanoseconds(StatsOf(id).recompressed.cpu_ns);
  };
  ASSERT_GT(Waiting(1), 0);
  const auto most = [&](int percent) {
    return kTime * percent / 100 + Recompressor::kMostSaved + Recompressor::kSlice;
  };
  EXPECT_LE(spent(1), most(10));
  EXPECT_LE(spent(2), most(40));
  EXPECT_GE(spent(1), kTime * 9 / 100);
  EXPECT_GE(spent(2), std::min<Duration>(kTime * 36 / 100, milliseconds(8'000 / 16)));
}

TEST_F(RecompressorTest, WaitsForABudgetThatIsUsedUp) {
  const PoolId pool = Join(1, AutoSettings());
  PutTexts(1, pool, 8'000);
  TimePoint due = start_;
  while (due == start_) due = Run(start_);
  EXPECT_GT(due, start_);
  EXPECT_LE(due, start_ + seconds(1));
  const uint64_t waiting = Waiting(1);
  ASSERT_GT(waiting, 0);
  Run(due);
  EXPECT_LT(Waiting(1), waiting);
}

TEST_F(RecompressorTest, ForgetsGuestsThatWent) {
  const PoolId pool = Join(1, AutoSettings());
  PutTexts(1, pool, 50);
  Run(start_);
  guests_.clear();
  store_->RemoveGuest(GuestId{1});
  EXPECT_EQ(Run(start_), TimePoint::max());
}

// ---- what guests see of it: nothing ----

RC_GTEST_PROP(Recompression, ChangesNothingButSizes, ()) {
  const auto store = std::move(*Store::Create({.capacity = Segments(24)}));
  PageCodec codec;
  GuestSettings settings = AutoSettings();
  settings.dense_after = 1;
  settings.compress_cpu = 100;
  auto guest = *store->AddGuest(GuestId{1}, settings);
  const PoolId swap = *store->NewPool(*guest, {.page_class = kPersistent});
  const PoolId cache = *store->NewPool(*guest, {.page_class = kEphemeral});
  std::map<std::pair<uint32_t, uint32_t>, std::pair<PageLook, uint64_t>> there;
  TimePoint now{seconds(1000)};
  const auto handle = [](PoolId pool, uint32_t page) {
    return Handle{pool, MakeObjectId(page / 64), PageIndex{page % 64}};
  };
  const auto steps = *rc::gen::inRange(0, 3000);
  auto random = *rc::gen::noShrink(rc::gen::arbitrary<uint64_t>());
  for (int step = 0; step < steps; ++step) {
    random = Mix(random);
    const PoolId pool = random % 4 == 0 ? cache : swap;
    const auto page_number = static_cast<uint32_t>(random / 4 % 512);
    const auto key = std::pair(pool.value, page_number);
    const auto look = static_cast<PageLook>(random / 4096 % kPageLooks);
    Page page;
    switch (random >> 60) {
      case 0:
        now += milliseconds(400);
        [[fallthrough]];
      case 1:
        store->Recompress(now, codec);
        break;
      case 2:
        store->FlushPage(*guest, handle(pool, page_number));
        there.erase(key);
        break;
      case 3:
      case 4:
      case 5: {
        const GetStatus status = store->Get(*guest, handle(pool, page_number), page, codec);
        const auto at = there.find(key);
        RC_ASSERT((status == GetStatus::kHit) == (at != there.end()));
        if (at != there.end()) {
          RC_ASSERT(page == MakePage(at->second.first, at->second.second));
          if (pool == cache) there.erase(at);
        }
        break;
      }
      default:
        RC_ASSERT(store->Put(*guest, handle(pool, page_number), MakePage(look, random), codec) ==
                  PutStatus::kStored);
        there[key] = {look, random};
    }
  }
  for (int pass = 0; pass < 4; ++pass, now += seconds(2)) {
    while (store->Recompress(now, codec) == now) {
    }
  }
  const GuestStats stats = *store->StatsOf(GuestId{1});
  RC_ASSERT(stats.stored[0].pages + stats.stored[1].pages == there.size());
  RC_ASSERT(stats.charged.value == stats.stored[0].charged_bytes + stats.stored[1].charged_bytes);
  RC_ASSERT(stats.recompressed.waiting == 0u);
  RC_ASSERT(stats.counters.evicted == 0u);
  RC_ASSERT(store->Scrub(PageCount(1'000'000)).empty());
  for (const auto& [key, put] : there) {
    Page page;
    RC_ASSERT(store->Get(*guest, handle(PoolId{key.first}, key.second), page, codec) ==
              GetStatus::kHit);
    RC_ASSERT(page == MakePage(put.first, put.second));
  }
  guest.reset();
  store->RemoveGuest(GuestId{1});
  const StoreStats empty = store->Stats();
  RC_ASSERT(empty.segments[0] + empty.segments[1] == Bytes(0));
}

}  // namespace
}  // namespace tmem
