#include "pools/store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "pools/backlog.h"
#include "pools/store_fixture.h"

namespace tmem {
namespace {

using enum PageClass;

// ---- creation ----

TEST(StoreCreate, RefusesWhatHoldsNoSegment) {
  const auto store = Store::Create({.capacity = KiB(1023)});
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::kInvalid);
}

TEST(StoreCreate, RefusesAMaximumBelowTheCapacity) {
  const auto store = Store::Create({.capacity = MiB(8), .max_capacity = MiB(4)});
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::kInvalid);
}

TEST(StoreCreate, SaysWhenAddressSpaceIsShort) {
  const auto store = Store::Create({.capacity = kUnlimited, .max_capacity = kUnlimited});
  ASSERT_FALSE(store);
}

TEST(StoreCreate, EachStoreHasItsOwnId) {
  EXPECT_NE((*Store::Create({}))->id(), (*Store::Create({}))->id());
}

// ---- guests ----

TEST_F(StoreTest, GuestsAreKnownByTheirId) {
  const auto guest = AddGuest(5);
  EXPECT_EQ(store_->Guests(), std::vector<GuestId>{GuestId{5}});
  const auto again = store_->AddGuest(GuestId{5}, {});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kExists);
  EXPECT_EQ(store_->StatsOf(GuestId{6}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store_->SettingsOf(GuestId{6}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store_->Configure(GuestId{6}, {}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store_->FlushEphemeral(GuestId{6}).error().code, ErrorCode::kNotFound);
  store_->RemoveGuest(GuestId{6});
}

TEST_F(StoreTest, BadSettingsChangeNothing) {
  EXPECT_EQ(store_->AddGuest(GuestId{1}, {.weight = 0}).error().code, ErrorCode::kInvalid);
  EXPECT_TRUE(store_->Guests().empty());
  const auto guest = AddGuest(1);
  EXPECT_EQ(store_->Configure(GuestId{1}, {.reserve = MiB(2), .cap = MiB(1)}).error().code,
            ErrorCode::kInvalid);
  EXPECT_EQ(*store_->SettingsOf(GuestId{1}), RawSettings());
}

TEST_F(StoreTest, AGuestsDeathFreesAllItOwned) {
  const auto guest = AddGuest(1);
  const PoolId cache = NewPool(guest, kEphemeral);
  const PoolId swap = NewPool(guest, kPersistent);
  for (uint32_t i = 0; i < 1000; ++i) {
    Put(guest, cache, i, i);
    Put(guest, swap, i, i);
  }
  const StoreStats before = store_->Stats();
  EXPECT_EQ(before.stored[0].pages + before.stored[1].pages, 2000);
  store_->RemoveGuest(GuestId{1});

  const StoreStats after = store_->Stats();
  EXPECT_EQ(after.guests, 0);
  EXPECT_EQ(after.stored[0].pages + after.stored[1].pages, 0);
  EXPECT_EQ(after.segments[0] + after.segments[1], Bytes(0));
  EXPECT_EQ(after.counters.puts, 2000) << "what it did is remembered";
  EXPECT_EQ(Put(guest, swap, 1, 1), PutStatus::kNoPool);
  EXPECT_EQ(Get(guest, swap, 1, 1), GetStatus::kNoPool);
  EXPECT_EQ(store_->NewPool(*guest, {}).error(), NewPoolError::kNoSpace);
}

TEST_F(StoreTest, AnIdIsFreeForTheNextGuestAtOnce) {
  const auto old = AddGuest(1);
  const PoolId pool = NewPool(old, kPersistent);
  Put(old, pool, 1, 1, 11);
  store_->RemoveGuest(GuestId{1});
  const auto heir = AddGuest(1);
  EXPECT_EQ(NewPool(heir, kPersistent), pool);
  EXPECT_EQ(Get(heir, pool, 1, 1), GetStatus::kEmpty) << "nothing is inherited";
  EXPECT_EQ(Put(old, pool, 1, 1, 12), PutStatus::kNoPool);
}

// ---- pools ----

TEST_F(StoreTest, SharedAndPersistentTogetherIsDenied) {
  const auto guest = AddGuest(1);
  const auto pool =
      store_->NewPool(*guest, {.page_class = kPersistent, .shared = true, .uuid = UuidOf(1)});
  ASSERT_FALSE(pool);
  EXPECT_EQ(pool.error(), NewPoolError::kDenied);
}

TEST_F(StoreTest, AGuestHasSixteenPools) {
  const auto guest = AddGuest(1);
  std::set<PoolId> ids;
  for (uint32_t i = 0; i < kMaxPoolsPerGuest; ++i) ids.insert(NewPool(guest, kEphemeral));
  EXPECT_EQ(ids.size(), kMaxPoolsPerGuest);
  EXPECT_EQ(store_->NewPool(*guest, {}).error(), NewPoolError::kNoSpace);
  EXPECT_EQ(store_->DestroyPool(*guest, PoolId{3}, kWhole), FlushStatus::kDone);
  EXPECT_EQ(NewPool(guest, kEphemeral), PoolId{3});
}

TEST_F(StoreTest, DestroyingAPoolFlushesItAll) {
  const auto guest = AddGuest(1);
  const PoolId doomed = NewPool(guest, kPersistent);
  const PoolId other = NewPool(guest, kPersistent);
  for (uint32_t i = 0; i < 500; ++i) Put(guest, doomed, i % 9, i);
  Put(guest, other, 1, 1, 7);

  EXPECT_EQ(store_->DestroyPool(*guest, doomed, PageCount(100)), FlushStatus::kMore);
  EXPECT_EQ(StatsOf(1).pools.size(), 1) << "the pool is not seen any more";
  EXPECT_EQ(StatsOf(1).stored[1].pages, 401) << "what is left of it still counts";
  EXPECT_EQ(StatsOf(1).counters.puts, 501);
  EXPECT_EQ(guest->ledger().charged(), kRawCharge * 401);
  EXPECT_EQ(Put(guest, doomed, 1, 1), PutStatus::kNoPool);
  EXPECT_EQ(Get(guest, doomed, 1, 1), GetStatus::kNoPool);
  EXPECT_EQ(Flush(guest, doomed, 1, 1), FlushStatus::kNoPool);
  EXPECT_NE(NewPool(guest, kPersistent), doomed) << "its id is not free yet";

  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(store_->DestroyPool(*guest, doomed, PageCount(100)), FlushStatus::kMore);
  }
  EXPECT_EQ(store_->DestroyPool(*guest, doomed, PageCount(100)), FlushStatus::kDone);
  EXPECT_EQ(store_->DestroyPool(*guest, doomed, PageCount(100)), FlushStatus::kNoPool);
  EXPECT_EQ(guest->ledger().charged(), kRawCharge);
  EXPECT_TRUE(Has(guest, other, 1, 1, 7));
}

TEST_F(StoreTest, TellsAPoolsClass) {
  const auto guest = AddGuest(1);
  EXPECT_EQ(Store::ClassOf(*guest, NewPool(guest, kPersistent)), kPersistent);
  EXPECT_EQ(Store::ClassOf(*guest, NewPool(guest, kEphemeral)), kEphemeral);
  EXPECT_EQ(Store::ClassOf(*guest, PoolId{9}), std::nullopt);
}

// ---- pages ----

TEST_F(StoreTest, APersistentGetLeavesThePage) {
  const auto guest = AddGuest(1);
  const PoolId pool = NewPool(guest, kPersistent);
  Put(guest, pool, 1, 1, 5);
  EXPECT_TRUE(Has(guest, pool, 1, 1, 5));
  EXPECT_TRUE(Has(guest, pool, 1, 1, 5));
}

TEST_F(StoreTest, APrivateEphemeralGetTakesThePage) {
  const auto guest = AddGuest(1);
  const PoolId pool = NewPool(guest, kEphemeral);
  Put(guest, pool, 1, 1, 5);
  EXPECT_TRUE(Has(guest, pool, 1, 1, 5));
  EXPECT_EQ(Get(guest, pool, 1, 1), GetStatus::kEmpty);
}

TEST_F(StoreTest, FlushedPagesAreGone) {
  const auto guest = AddGuest(1);
  const PoolId pool = NewPool(guest, kPersistent);
  for (uint32_t i = 0; i < 3; ++i) Put(guest, pool, 1, i);
  EXPECT_EQ(Flush(guest, pool, 1, 1), FlushStatus::kDone);
  EXPECT_EQ(Flush(guest, pool, 1, 1), FlushStatus::kDone) << "flushing what is not there succeeds";
  EXPECT_EQ(Get(guest, pool, 1, 1), GetStatus::kMiss);
  EXPECT_EQ(FlushObject(guest, pool, 1, PageCount(1)), FlushStatus::kMore);
  EXPECT_EQ(FlushObject(guest, pool, 1, PageCount(1)), FlushStatus::kDone);
  EXPECT_EQ(FlushObject(guest, pool, 1, PageCount(1)), FlushStatus::kDone);
  EXPECT_EQ(Get(guest, pool, 1, 2), GetStatus::kEmpty);
}

TEST_F(StoreTest, ExtremeHandlesAreHandlesLikeOthers) {
  const auto guest = AddGuest(1);
  const PoolId pool = NewPool(guest, kPersistent);
  const std::vector<ObjectId> objects = {{}, {{UINT64_MAX, UINT64_MAX, UINT64_MAX}}, {{0, 0, 1}}};
  uint64_t seed = 0;
  for (const ObjectId& object : objects) {
    for (const uint32_t index : {0u, 1u, 0x8000'0000u, UINT32_MAX}) {
      const Page page = MakePage(PageLook::kRandom, ++seed);
      ASSERT_EQ(store_->Put(*guest, {pool, object, PageIndex{index}}, page, codec_),
                PutStatus::kStored);
    }
  }
  seed = 0;
  for (const ObjectId& object : objects) {
    for (const uint32_t index : {0u, 1u, 0x8000'0000u, UINT32_MAX}) {
      Page page;
      ASSERT_EQ(store_->Get(*guest, {pool, object, PageIndex{index}}, page, codec_),
                GetStatus::kHit);
      EXPECT_EQ(page, MakePage(PageLook::kRandom, ++seed));
    }
  }
}

// ---- freeze ----

TEST_F(StoreTest, AFrozenGuestMayOnlyGetAndFlush) {
  const auto guest = AddGuest(1);
  const PoolId pool = NewPool(guest, kPersistent);
  for (uint32_t i = 0; i < 5; ++i) Put(guest, pool, 1, i, i);
  auto settings = RawSettings();
  settings.frozen = true;
  ASSERT_TRUE(store_->Configure(GuestId{1}, settings));

  EXPECT_EQ(Put(guest, pool, 1, 9), PutStatus::kFrozen);
  EXPECT_EQ(Put(guest, pool, 1, 0, 7), PutStatus::kFrozen);
  EXPECT_EQ(Get(guest, pool, 1, 0), GetStatus::kMiss) << "a duplicate put drops the old page";
  EXPECT_TRUE(Has(guest, pool, 1, 1, 1));
  EXPECT_EQ(Flush(guest, pool, 1, 1), FlushStatus::kFrozen);
  EXPECT_EQ(Get(guest, pool, 1, 1), GetStatus::kMiss) << "flushes are executed";
  EXPECT_EQ(FlushObject(guest, pool, 1, PageCount(2)), FlushStatus::kMore);
  EXPECT_EQ(FlushObject(guest, pool, 1, PageCount(2)), FlushStatus::kFrozen);
  EXPECT_EQ(Put(guest, PoolId{9}, 1, 0), PutStatus::kNoPool);
  const PoolCounters counters = PoolStatsOf(1, pool).counters;
  EXPECT_EQ(counters.puts_frozen, 2);
  EXPECT_EQ(counters.dup_puts_flushed, 1);

  ASSERT_TRUE(store_->Configure(GuestId{1}, RawSettings()));
  EXPECT_EQ(Put(guest, pool, 1, 0, 7), PutStatus::kStored);
  EXPECT_EQ(store_->DestroyPool(*guest, pool, kWhole), FlushStatus::kDone);
}

// ---- compression ----

TEST_F(StoreTest, CompressionFollowsTheClass) {
  auto settings = RawSettings();
  settings.compress[1] = CompressMode::kFast;
  const auto guest = AddGuest(1, settings);
  const PoolId cache = NewPool(guest, kEphemeral);
  const PoolId swap = NewPool(guest, kPersistent);
  for (const PoolId pool : {cache, swap}) {
    Put(guest, pool, 1, 0, 5, PageLook::kText);
    Put(guest, pool, 1, 1, 5, PageLook::kRandom);
    Put(guest, pool, 1, 2, 5, PageLook::kSameFilled);
  }
  EXPECT_EQ(PoolStatsOf(1, cache).stored.compressed, 0);
  EXPECT_EQ(PoolStatsOf(1, swap).stored.compressed, 1);
  EXPECT_EQ(PoolStatsOf(1, cache).stored.same_filled, 1);
  EXPECT_EQ(PoolStatsOf(1, cache).stored.payload_bytes, 2 * kPageSize + 8);
  EXPECT_LT(PoolStatsOf(1, swap).stored.payload_bytes, kPageSize + 3000);
  for (const PoolId pool : {cache, swap}) {
    EXPECT_TRUE(Has(guest, pool, 1, 0, 5, PageLook::kText));
    EXPECT_TRUE(Has(guest, pool, 1, 1, 5, PageLook::kRandom));
    EXPECT_TRUE(Has(guest, pool, 1, 2, 5, PageLook::kSameFilled));
  }
}

// ---- caps ----

TEST_F(StoreTest, ACapHoldsExactly) {
  auto settings = RawSettings();
  settings.cap = kRawCharge * 100 + Bytes(4119);
  const auto guest = AddGuest(1, settings);
  const PoolId pool = NewPool(guest, kPersistent);
  EXPECT_EQ(Fill(guest, pool, 1, 1000), 100);
  EXPECT_EQ(Put(guest, pool, 2, 0, 0, PageLook::kZero), PutStatus::kStored) << "a word still fits";
  EXPECT_EQ(Put(guest, pool, 1, 5, 55), PutStatus::kStored) << "as does a page in another's place";
  EXPECT_TRUE(Has(guest, pool, 1, 5, 55));
  EXPECT_EQ(Put(guest, pool, 2, 0, 1, PageLook::kRandom), PutStatus::kNoMemory);
  EXPECT_EQ(Get(guest, pool, 2, 0), GetStatus::kMiss) << "a refused put leaves no old page";
  EXPECT_EQ(guest->ledger().charged(), kRawCharge * 100);
  const PoolCounters counters = PoolStatsOf(1, pool).counters;
  EXPECT_EQ(counters.dup_puts_replaced, 1);
  EXPECT_EQ(counters.dup_puts_flushed, 1);
  EXPECT_EQ(counters.puts_no_memory, 2);
}

TEST_F(StoreTest, WithinTheCapOwnEphemeralPagesMakeRoom) {
  auto settings = RawSettings();
  settings.cap = kRawCharge * RawPages(4);
  const auto guest = AddGuest(1, settings);
  const PoolId cache = NewPool(guest, kEphemeral);
  const PoolId swap = NewPool(guest, kPersistent);
  EXPECT_EQ(Fill(guest, cache, 1, 5000), 5000);
  EXPECT_LE(guest->ledger().charged(), settings.cap);
  EXPECT_EQ(Fill(guest, swap, 1, 5000), RawPages(4));
  EXPECT_EQ(PoolStatsOf(1, cache).stored.pages, 0);
  EXPECT_EQ(Put(guest, cache, 1, 1), PutStatus::kNoMemory);
}

TEST_F(StoreTest, ALoweredCapEvictsEphemeralPagesOnly) {
  const auto guest = AddGuest(1);
  const PoolId cache = NewPool(guest, kEphemeral);
  const PoolId swap = NewPool(guest, kPersistent);
  Fill(guest, cache, 1, 1000);
  Fill(guest, swap, 1, 1000);
  auto settings = RawSettings();
  settings.cap = kRawCharge * 1500;
  ASSERT_TRUE(store_->Configure(GuestId{1}, settings));
  EXPECT_LE(guest->ledger().charged(), settings.cap);
  EXPECT_GT(PoolStatsOf(1, cache).stored.pages, 0);
  settings.cap = kRawCharge * 500;
  ASSERT_TRUE(store_->Configure(GuestId{1}, settings));
  EXPECT_EQ(PoolStatsOf(1, cache).stored.pages, 0);
  EXPECT_EQ(PoolStatsOf(1, swap).stored.pages, 1000) << "persistent pages stay";
  EXPECT_EQ(Put(guest, swap, 2, 1), PutStatus::kNoMemory);
  for (uint32_t i = 0; i < 501; ++i) Flush(guest, swap, 1, i);
  EXPECT_EQ(Put(guest, swap, 2, 1), PutStatus::kStored);
}

// A lowered cap did not reach the pages that the guest paid for in shared pools.
TEST_F(StoreTest, ALoweredCapEvictsPagesInSharedPools) {
  auto settings = RawSettings();
  settings.shared_auth.insert(UuidOf(1));
  const auto guest = AddGuest(1, settings);
  const auto other = AddGuest(2, settings);
  const PoolId pool = NewSharedPool(guest, 1);
  const PoolId others = NewSharedPool(other, 1);
  for (uint32_t i = 0; i < 200; ++i) Put(guest, pool, i, 0, i);
  for (uint32_t i = 0; i < 10; ++i) Put(other, others, 1000 + i, 0, i);
  settings.cap = kRawCharge * 50;
  ASSERT_TRUE(store_->Configure(GuestId{1}, settings));
  EXPECT_EQ(guest->ledger().charged(), settings.cap);
  for (uint32_t i = 0; i < 10; ++i) EXPECT_TRUE(Has(other, others, 1000 + i, 0, i));
}

// ---- capacity ----

class SmallStoreTest : public StoreTest {
 protected:
  static constexpr uint64_t kSegments = 10;
  SmallStoreTest() : StoreTest({.capacity = Segments(kSegments) + Bytes(5)}) {}
};

TEST_F(SmallStoreTest, CapacityHoldsExactly) {
  EXPECT_EQ(store_->Stats().capacity, Segments(kSegments));
  const auto guest = AddGuest(1);
  const PoolId pool = NewPool(guest, kPersistent);
  EXPECT_EQ(Fill(guest, pool, 1, 10'000), RawPages(kSegments));
  EXPECT_EQ(store_->Stats().segments[1], Segments(kSegments));
  EXPECT_EQ(Put(guest, pool, 1, 3, 33), PutStatus::kStored) << "in the old page's own slot";
  for (uint32_t i = 0; i < RawPages(kSegments); ++i) {
    ASSERT_TRUE(Has(guest, pool, 1, i, i == 3 ? 33 : i));
  }
}

TEST_F(SmallStoreTest, EphemeralPagesMakeRoomForPersistentOnes) {
  const auto hog = AddGuest(1);
  const auto guest = AddGuest(2);
  const PoolId cache = NewPool(hog, kEphemeral);
  EXPECT_EQ(Fill(hog, cache, 1, 10'000), 10'000);
  ASSERT_TRUE(store_->SetSurrendered(GuestId{2}, Segments(kSegments)));
  const PoolId pool = NewPool(guest, kPersistent);
  EXPECT_EQ(Fill(guest, pool, 1, 10'000), RawPages(kSegments));
  EXPECT_EQ(PoolStatsOf(1, cache).stored.pages, 0);
  EXPECT_EQ(store_->Stats().counters.evicted, 10'000);
}

TEST_F(SmallStoreTest, AReserveIsKeptForItsGuest) {
  auto settings = RawSettings();
  settings.reserve = Segments(3) + Bytes(1);  // so, four
  const auto owner = AddGuest(1, settings);
  const auto greedy = AddGuest(2);
  ASSERT_TRUE(store_->SetSurrendered(GuestId{2}, Segments(kSegments)));
  EXPECT_EQ(Fill(greedy, NewPool(greedy, kPersistent), 1, 10'000), RawPages(kSegments - 4));
  EXPECT_EQ(Fill(owner, NewPool(owner, kPersistent), 1, 10'000), RawPages(4));
}

// Its reserve stayed promised for as long as anybody had a handle of the guest.
TEST_F(SmallStoreTest, ARemovedGuestKeepsNoReserve) {
  auto settings = RawSettings();
  settings.reserve = Segments(4);
  const auto gone = AddGuest(1, settings);
  store_->RemoveGuest(GuestId{1});
  const auto guest = AddGuest(2);
  EXPECT_EQ(Fill(guest, NewPool(guest, kPersistent), 1, 10'000), RawPages(kSegments));
}

TEST_F(SmallStoreTest, EphemeralMemoryIsDividedByWeight) {
  auto settings = RawSettings();
  settings.weight = 100;
  const auto light = AddGuest(1, settings);
  settings.weight = 400;
  const auto heavy = AddGuest(2, settings);
  const PoolId light_pool = NewPool(light, kEphemeral);
  const PoolId heavy_pool = NewPool(heavy, kEphemeral);
  const auto compete = [&] {
    for (uint32_t i = 0; i < RawPages(3 * kSegments); ++i) {
      Put(light, light_pool, 1, i);
      Put(heavy, heavy_pool, 1, i);
    }
  };
  compete();
  EXPECT_EQ(StatsOf(1).segments[0], Segments(2));
  EXPECT_EQ(StatsOf(2).segments[0], Segments(8));
  settings.weight = 100;
  ASSERT_TRUE(store_->Configure(GuestId{2}, settings));
  compete();
  EXPECT_EQ(StatsOf(1).segments[0], Segments(5));
  EXPECT_EQ(StatsOf(2).segments[0], Segments(5));
}

TEST_F(SmallStoreTest, TheHostTakesItsMemoryBack) {
  const auto guest = AddGuest(1);
  const PoolId cache = NewPool(guest, kEphemeral);
  const PoolId swap = NewPool(guest, kPersistent);
  Fill(guest, cache, 1, RawPages(6));
  Fill(guest, swap, 1, RawPages(4));
  EXPECT_EQ(store_->Stats().freeable, Segments(6));
  EXPECT_EQ(store_->SetCapacity(Segments(7) + Bytes(1)), Segments(7));
  EXPECT_EQ(PoolStatsOf(1, cache).stored.pages, RawPages(3));
  EXPECT_EQ(store_->Stats().relinquished_bytes, Segments(3).value);
  EXPECT_EQ(store_->SetCapacity(Bytes(0)), Segments(4)) << "persistent pages hold it";
  EXPECT_EQ(PoolStatsOf(1, swap).stored.pages, RawPages(4));
  EXPECT_EQ(Put(guest, swap, 2, 1), PutStatus::kNoMemory);
  EXPECT_EQ(Put(guest, cache, 2, 1), PutStatus::kNoMemory);
  EXPECT_EQ(store_->SetCapacity(kUnlimited), Segments(4 * kSegments)) << "four times, by default";
  EXPECT_EQ(Fill(guest, swap, 2, 50'000), RawPages(4 * kSegments - 4));
}

TEST_F(StoreTest, FlushEphemeralLeavesPersistentPages) {
  const auto guest = AddGuest(1);
  const PoolId cache = NewPool(guest, kEphemeral);
  const PoolId swap = NewPool(guest, kPersistent);
  Fill(guest, cache, 1, 1000);
  Fill(guest, swap, 1, 100);
  EXPECT_EQ(*store_->FlushEphemeral(GuestId{1}), kRawCharge * 1000);
  EXPECT_EQ(store_->Stats().segments[0], Bytes(0));
  EXPECT_EQ(Get(guest, cache, 1, 1), GetStatus::kEmpty);
  for (uint32_t i = 0; i < 100; ++i) EXPECT_TRUE(Has(guest, swap, 1, i, i));
  EXPECT_EQ(*store_->FlushEphemeral(GuestId{1}), Bytes(0));
}

// A guest that had the store to itself was refused although half of it was free, in slots of
// another size than its pages had by now.
TEST_F(StoreTest, AFullStoreMakesRoomForPagesOfAnotherSize) {
  constexpr uint64_t kSegments = 8;
  store_->SetCapacity(Segments(kSegments));
  const auto guest = AddGuest(1, GuestSettings());
  const PoolId pool = NewPool(guest, kPersistent);
  // All of about the same size: a quarter of random bytes, and zeros.
  const auto put_quarter = [&](uint32_t index) {
    Page page = MakePage(PageLook::kRandom, index);
    std::fill(page.begin() + kPageSize / 4, page.end(), std::byte{0});
    return store_->Put(*guest, HandleOf(pool, 1, index), page, codec_);
  };
  uint32_t stored = 0;
  while (put_quarter(stored) == PutStatus::kStored) ++stored;
  for (uint32_t i = 0; i < stored; i += 2) Flush(guest, pool, 1, i);

  const auto raw_pages = static_cast<uint32_t>(RawPages(kSegments / 2 - 1));
  for (uint32_t i = 0; i < raw_pages; ++i) {
    ASSERT_EQ(Put(guest, pool, 2, i, i), PutStatus::kStored) << i << " of " << raw_pages;
  }
  for (uint32_t i = 1; i < stored; i += 2) {
    Page page;
    ASSERT_EQ(store_->Get(*guest, HandleOf(pool, 1, i), page, codec_), GetStatus::kHit);
    const Page was = MakePage(PageLook::kRandom, i);
    ASSERT_TRUE(std::equal(page.begin(), page.begin() + kPageSize / 4, was.begin()));
  }
  for (uint32_t i = 0; i < raw_pages; ++i) ASSERT_TRUE(Has(guest, pool, 2, i, i));
}

// ---- compressing later ----

class AutoStoreTest : public StoreTest {
 protected:
  AutoStoreTest() : StoreTest({.capacity = MiB(128)}) {
    for (auto& mode : settings_.compress) mode = CompressMode::kAuto;
  }
  PutStatus PutText(const GuestPointer& guest, PoolId pool, uint32_t index) {
    return Put(guest, pool, 1, index, index, PageLook::kText);
  }
  StoredCounters Stored(uint16_t id, PageClass page_class) {
    return StatsOf(id).stored[static_cast<size_t>(page_class)];
  }
  GuestSettings settings_;
};

TEST_F(AutoStoreTest, TellsOfTheFirstPageThatWaits) {
  int told = 0;
  store_->OnBacklog([&] { ++told; });
  const auto guest = AddGuest(1, settings_);
  const PoolId pool = NewPool(guest, kPersistent);
  Put(guest, pool, 1, 100, 0, PageLook::kZero);
  EXPECT_EQ(told, 0) << "a word is as small as it gets";
  for (uint32_t i = 0; i < 10; ++i) PutText(guest, pool, i);
  EXPECT_EQ(told, 1);
  const TimePoint now{};
  while (store_->Recompress(now, codec_) == now) {
  }
  EXPECT_EQ(Stored(1, kPersistent).compressed, 10);
  PutText(guest, pool, 10);
  EXPECT_EQ(told, 2);
}

TEST_F(AutoStoreTest, CompressesAtOnceWhenTooManyPagesWait) {
  const auto guest = AddGuest(1, settings_);
  const PoolId pool = NewPool(guest, kEphemeral);
  for (uint32_t i = 0; i < Backlog::kMost; ++i) PutText(guest, pool, i);
  EXPECT_EQ(Stored(1, kEphemeral).compressed, 0);
  PutText(guest, pool, Backlog::kMost);
  EXPECT_EQ(Stored(1, kEphemeral).compressed, 1);
}

TEST_F(AutoStoreTest, CompressesAtOnceWhatHasNoRoomOtherwise) {
  settings_.cap = kRawCharge * 10;
  const auto capped = AddGuest(1, settings_);
  const PoolId pool = NewPool(capped, kPersistent);
  for (uint32_t i = 0; i < 20; ++i) EXPECT_EQ(PutText(capped, pool, i), PutStatus::kStored);
  EXPECT_GT(Stored(1, kPersistent).compressed, 9);
}

TEST_F(AutoStoreTest, SharedPoolsAreCompressedAtOnce) {
  settings_.shared_auth = {UuidOf(1)};
  const auto guest = AddGuest(1, settings_);
  const PoolId pool = NewSharedPool(guest, 1);
  PutText(guest, pool, 1);
  EXPECT_EQ(PoolStatsOf(1, pool).stored.compressed, 1);
}

// ---- shared pools ----

TEST_F(StoreTest, AScrubGoesRoundAllGuests) {
  EXPECT_TRUE(store_->Scrub(PageCount(100)).empty());
  EXPECT_EQ(store_->Stats().scrub.passes, 1) << "over nothing";
  std::vector<GuestPointer> guests;
  for (uint16_t id = 1; id <= 3; ++id) {
    guests.push_back(AddGuest(id));
    const PoolId pool = NewPool(guests.back(), kPersistent);
    ASSERT_EQ(Fill(guests.back(), pool, 1, 100), 100);
  }
  for (int step = 0; step < 1000 && store_->Stats().scrub.passes == 1; ++step) {
    EXPECT_TRUE(store_->Scrub(PageCount(16)).empty());
    // The one that it is at, or comes to next, goes.
    if (step == 10) store_->RemoveGuest({2});
  }
  const ScrubProgress progress = store_->Stats().scrub;
  EXPECT_EQ(progress.passes, 2);
  EXPECT_GE(progress.pages, 200);
  EXPECT_LE(progress.pages, 300);
  EXPECT_EQ(progress.corrupt, 0);
}

// ---- figures ----

TEST_F(StoreTest, FiguresAddUp) {
  auto settings = RawSettings();
  settings.shared_auth.insert(UuidOf(1));
  const auto first = AddGuest(1, settings);
  const auto second = AddGuest(2, settings);
  Fill(first, NewPool(first, kPersistent), 1, 300);
  Fill(second, NewPool(second, kEphemeral), 1, 200);
  const PoolId shared = NewSharedPool(second, 1);
  Fill(second, shared, 1, 100);
  Get(first, PoolId{0}, 1, 1);
  Flush(first, PoolId{0}, 1, 1);
  FlushObject(second, PoolId{0}, 7);

  const StoreStats stats = store_->Stats();
  EXPECT_EQ(stats.guests, 2);
  EXPECT_EQ(stats.operations, 603);
  EXPECT_EQ(stats.counters.puts_stored, 600);
  EXPECT_EQ(stats.counters.gets_found, 1);
  EXPECT_EQ(stats.counters.flushes_found, 1);
  EXPECT_EQ(stats.stored[0].pages, 300);
  EXPECT_EQ(stats.stored[1].pages, 299);
  EXPECT_EQ(stats.stored[0].payload_bytes, 300 * kPageSize);
  EXPECT_EQ(stats.stored[0].charged_bytes, (kRawCharge * 300).value);
  EXPECT_EQ(stats.stored[0].objects, 2);
  EXPECT_EQ(stats.freeable, stats.capacity - stats.segments[1]);
  EXPECT_EQ(StatsOf(1).charged, kRawCharge * 299);
  EXPECT_EQ(StatsOf(2).charged, kRawCharge * 300) << "its part of the shared pool, too";
  EXPECT_EQ(StatsOf(2).stored[0].pages, 200) << "private pools";
  EXPECT_EQ(StatsOf(2).segments[0], Segments(1));
  EXPECT_EQ(stats.segments[0], Segments(2));
}

// The slot that one overwrite leaves serves the next, alone or in a group.
TEST_F(StoreTest, OverwritesTogetherTakeNoSegmentMore) {
  const GuestPointer guest = AddGuest(1);
  const PoolId swap = NewPool(guest, kPersistent);
  const auto pages = static_cast<uint32_t>(RawPages(1) - 1);
  ASSERT_EQ(Fill(guest, swap, 1, pages), pages);
  ASSERT_EQ(store_->Stats().segments[1], Segments(1));
  const Page page = MakePage(PageLook::kRandom, 77);
  for (int round = 0; round < 3; ++round) {
    Store::Puts puts(*store_, *guest, codec_);
    for (uint32_t i = 0; i < Store::kGroup; ++i) puts.Add(HandleOf(swap, 1, i), page);
    for (const PutStatus status : puts.Enter()) EXPECT_EQ(status, PutStatus::kStored);
  }
  EXPECT_EQ(store_->Stats().segments[1], Segments(1));
  for (uint32_t i = 0; i < pages; ++i) {
    EXPECT_TRUE(Has(guest, swap, 1, i, i < Store::kGroup ? 77 : i)) << i;
  }
}

}  // namespace
}  // namespace tmem
