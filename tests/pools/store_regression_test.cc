// One test for each class of defect that the old hypervisor's tmem had (its security advisory,
// XSA-15, and what was found later), as far as it concerns the store. Where the class is guarded
// by another room (hypercalls, privileges, guest memory, logs), its test is there.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "pools/memory.h"
#include "pools/store_fixture.h"

namespace tmem {
namespace {

using enum PageClass;

class StoreRegressionTest : public StoreTest {
 protected:
  static GuestSettings SharingSettings() {
    auto settings = RawSettings();
    settings.shared_auth = {UuidOf(1)};
    return settings;
  }
};

// "signed index", "unvalidated pool id": a negative pool id passed the bound of every operation,
// and destroy did not look at its own at all.
TEST_F(StoreRegressionTest, PoolIdsOutsideTheRangeAreNoPools) {
  const auto guest = AddGuest(1);
  NewPool(guest, kPersistent);
  for (const uint32_t bad : {1u, 15u, 16u, 17u, 255u, 0x7fff'ffffu, 0x8000'0000u, UINT32_MAX}) {
    const PoolId pool{bad};
    EXPECT_EQ(Put(guest, pool, 1, 1), PutStatus::kNoPool) << bad;
    EXPECT_EQ(Get(guest, pool, 1, 1), GetStatus::kNoPool) << bad;
    EXPECT_EQ(Flush(guest, pool, 1, 1), FlushStatus::kNoPool) << bad;
    EXPECT_EQ(FlushObject(guest, pool, 1), FlushStatus::kNoPool) << bad;
    EXPECT_EQ(store_->DestroyPool(*guest, pool, kWhole), FlushStatus::kNoPool) << bad;
    EXPECT_EQ(Store::ClassOf(*guest, pool), std::nullopt) << bad;
  }
}

// "NULL client": control operations on a guest that had no pools yet, or was gone.
TEST_F(StoreRegressionTest, ControlOfGuestsWithoutPoolsAndOfNoGuests) {
  const auto guest = AddGuest(1);
  EXPECT_EQ(*store_->FlushEphemeral(GuestId{1}), Bytes(0));
  EXPECT_TRUE(store_->Configure(GuestId{1}, RawSettings()));
  EXPECT_TRUE(StatsOf(1).pools.empty());
  store_->RemoveGuest(GuestId{1});
  EXPECT_FALSE(store_->FlushEphemeral(GuestId{1}));
  EXPECT_FALSE(store_->Configure(GuestId{1}, RawSettings()));
  EXPECT_FALSE(store_->StatsOf(GuestId{1}));
  store_->RemoveGuest(GuestId{1});
}

// "overflow": sums of what guests and administrators choose.
TEST_F(StoreRegressionTest, LimitsAtTheEndOfTheirRangeDoNotWrap) {
  auto settings = RawSettings();
  settings.cap = Bytes(UINT64_MAX - 1);
  settings.reserve = Bytes(UINT64_MAX - 1);
  const auto guest = AddGuest(1, settings);
  const auto other = AddGuest(2, settings);
  EXPECT_EQ(Put(guest, NewPool(guest, kPersistent), 1, UINT32_MAX), PutStatus::kStored);
  EXPECT_EQ(Put(other, NewPool(other, kEphemeral), 1, UINT32_MAX), PutStatus::kStored);
  settings.reserve = Bytes(0);
  settings.cap = Bytes(0);
  ASSERT_TRUE(store_->Configure(GuestId{1}, settings));
  EXPECT_EQ(Put(guest, PoolId{0}, 1, 1), PutStatus::kNoMemory);
  EXPECT_EQ(FlushObject(guest, PoolId{0}, 1, PageCount(UINT64_MAX)), FlushStatus::kDone);
}

// "lock kept on an error path": after each refusal the same objects answer at once, from the
// thread that was refused and from another.
TEST_F(StoreRegressionTest, NoRefusalKeepsALock) {
  auto settings = SharingSettings();
  settings.cap = kRawCharge;
  const auto guest = AddGuest(1, settings);
  const auto other = AddGuest(2, SharingSettings());
  const PoolId swap = NewPool(guest, kPersistent);
  const PoolId shared = NewSharedPool(guest, 1);
  const PoolId others = NewSharedPool(other, 1);
  for (uint32_t i = 0; i < 4; ++i) Put(other, others, 1, i);

  EXPECT_EQ(Put(guest, shared, 1, 1), PutStatus::kNoMemory);  // cannot pay for the object
  EXPECT_EQ(Put(guest, swap, 1, 1), PutStatus::kStored);
  EXPECT_EQ(Put(guest, swap, 1, 2), PutStatus::kNoMemory);  // cap
  settings.frozen = true;
  ASSERT_TRUE(store_->Configure(GuestId{1}, settings));
  EXPECT_EQ(Put(guest, swap, 1, 1), PutStatus::kFrozen);
  EXPECT_EQ(Get(guest, swap, 1, 2), GetStatus::kEmpty);
  EXPECT_EQ(Get(guest, PoolId{9}, 1, 2), GetStatus::kNoPool);
  EXPECT_EQ(FlushObject(other, others, 1, PageCount(1)), FlushStatus::kMore);
  EXPECT_FALSE(store_->NewPool(*guest, {.page_class = kPersistent, .shared = true}));
  EXPECT_FALSE(store_->AddGuest(GuestId{1}, {}));

  std::jthread elsewhere([&] {
    PageCodec codec{PageCodec::Config{}};
    const Page page = MakePage(PageLook::kRandom, 1);
    for (uint32_t i = 0; i < 64; ++i) {
      EXPECT_EQ(store_->Put(*other, HandleOf(others, i, i), page, codec), PutStatus::kStored);
      EXPECT_EQ(store_->FlushPage(*guest, HandleOf(swap, i, i)), FlushStatus::kFrozen);
    }
    EXPECT_EQ(store_->Stats().guests, 2);
    store_->RemoveGuest(GuestId{1});
  });
}

// "shared pools: joining needed no authorization": who is not authorized gets a private pool.
TEST_F(StoreRegressionTest, AnUnauthorizedJoinGetsAPrivatePool) {
  const auto member = AddGuest(1, SharingSettings());
  const auto stranger = AddGuest(2);
  const PoolId shared = NewSharedPool(member, 1);
  Put(member, shared, 1, 1, 5);
  const PoolId pool = NewSharedPool(stranger, 1);
  EXPECT_FALSE(PoolStatsOf(2, pool).shared);
  EXPECT_EQ(Get(stranger, pool, 1, 1), GetStatus::kEmpty);
  Put(stranger, pool, 1, 1, 6);
  EXPECT_TRUE(Has(member, shared, 1, 1, 5));
  EXPECT_EQ(PoolStatsOf(1, shared).sharers, 1);
  EXPECT_TRUE(Has(stranger, pool, 1, 1, 6));
  EXPECT_EQ(Get(stranger, pool, 1, 1), GetStatus::kEmpty) << "a private get is exclusive";
}

TEST_F(StoreRegressionTest, AuthorizationForOneUuidIsNoneForAnother) {
  const auto guest = AddGuest(1, SharingSettings());
  EXPECT_TRUE(PoolStatsOf(1, NewSharedPool(guest, 1)).shared);
  EXPECT_FALSE(PoolStatsOf(1, NewSharedPool(guest, 2)).shared);
}

TEST_F(StoreRegressionTest, TheUuidOfAllOnesIsAlwaysPrivate) {
  constexpr Uuid kAllOnes{{UINT64_MAX, UINT64_MAX}};
  auto settings = RawSettings();
  settings.shared_auth.insert(kAllOnes);
  const auto guest = AddGuest(1, settings);
  const PoolId pool = *store_->NewPool(*guest, {.shared = true, .uuid = kAllOnes});
  EXPECT_FALSE(PoolStatsOf(1, pool).shared);
}

class OpenStoreTest : public StoreTest {
 protected:
  OpenStoreTest() : StoreTest({.capacity = MiB(8), .shared_auth_default = true}) {}
};

TEST_F(OpenStoreTest, AnAdministratorMayAuthorizeEverybody) {
  const auto guest = AddGuest(1);
  EXPECT_TRUE(PoolStatsOf(1, NewSharedPool(guest, 77)).shared);
}

// "shared pools: reference count: crash, hang, leak": members come and go in every order, twice
// over, with pages of each; the pool ends with the last and nothing is left.
TEST_F(StoreRegressionTest, SharedPoolsCountTheirMembers) {
  const StoreStats empty = store_->Stats();
  constexpr uint16_t kGuests = 3;
  for (const auto& order : std::vector<std::vector<uint16_t>>{
           {0, 1, 2, 3}, {3, 2, 1, 0}, {1, 0, 3, 2}, {2, 3, 0, 1}, {0, 3, 1, 2}}) {
    std::vector<GuestPointer> guests;
    for (uint16_t id = 0; id < kGuests; ++id) guests.push_back(AddGuest(id, SharingSettings()));
    guests.push_back(guests[0]);  // a member under two pool ids
    std::vector<PoolId> pools;
    for (const auto& guest : guests) pools.push_back(NewSharedPool(guest, 1));
    for (uint32_t i = 0; i < 100; ++i) Put(guests[i % 4], pools[i % 4], i, i, i);

    for (size_t left = 4; const uint16_t leaver : order) {
      EXPECT_EQ(PoolStatsOf(leaver % kGuests, pools[leaver]).sharers, left--);
      for (uint32_t i = 0; i < 100; ++i) {
        ASSERT_TRUE(Has(guests[leaver], pools[leaver], i, i, i)) << "pages outlive their members";
      }
      EXPECT_EQ(store_->DestroyPool(*guests[leaver], pools[leaver], kWhole), FlushStatus::kDone);
      EXPECT_EQ(store_->DestroyPool(*guests[leaver], pools[leaver], kWhole), FlushStatus::kNoPool);
      EXPECT_EQ(store_->Stats().shared_pools, left > 0 ? 1 : 0);
    }
    for (uint16_t id = 0; id < kGuests; ++id) store_->RemoveGuest(GuestId{id});
    const StoreStats stats = store_->Stats();
    EXPECT_EQ(stats.segments[0], Bytes(0));
    EXPECT_EQ(stats.index_bytes, empty.index_bytes);
  }
}

// The same with whole guests dying, pools never destroyed.
TEST_F(StoreRegressionTest, DyingGuestsLeaveTheirSharedPools) {
  const auto first = AddGuest(1, SharingSettings());
  const auto second = AddGuest(2, SharingSettings());
  const PoolId a = NewSharedPool(first, 1);
  const PoolId b = NewSharedPool(second, 1);
  NewSharedPool(first, 1);
  for (uint32_t i = 0; i < 100; ++i) Put(first, a, i, i, i);
  store_->RemoveGuest(GuestId{1});
  EXPECT_EQ(PoolStatsOf(2, b).sharers, 1);
  for (uint32_t i = 0; i < 100; ++i) EXPECT_TRUE(Has(second, b, i, i, i));
  EXPECT_EQ(StatsOf(2).charged, kRawCharge * 100);
  store_->RemoveGuest(GuestId{2});
  EXPECT_EQ(store_->Stats().shared_pools, 0);
  EXPECT_EQ(store_->Stats().segments[0], Bytes(0));
}

// "deduplication across guests": equal pages of two guests, or of two pools, share nothing.
TEST_F(StoreRegressionTest, EqualPagesShareNothing) {
  const auto first = AddGuest(1);
  const auto second = AddGuest(2);
  const PoolId a = NewPool(first, kPersistent);
  const PoolId b = NewPool(second, kPersistent);
  for (uint32_t i = 0; i < 100; ++i) {
    Put(first, a, 1, i, 5);
    Put(second, b, 1, i, 5);
  }
  EXPECT_EQ(StatsOf(1).charged, kRawCharge * 100);
  EXPECT_EQ(StatsOf(2).charged, kRawCharge * 100);
  EXPECT_EQ(StatsOf(1).segments[1], Segments(1));
  EXPECT_EQ(StatsOf(2).segments[1], Segments(1)) << "nor do they lie in one segment";
  FlushObject(first, a, 1);
  for (uint32_t i = 0; i < 100; ++i) EXPECT_TRUE(Has(second, b, 1, i, 5));
}

// "reclaim livelock: one put became linear in the object's size": making room for one page drops
// one segment, however large the object, and a flush does what its budget says.
class SmallStoreRegressionTest : public StoreTest {
 protected:
  static constexpr uint64_t kSegments = 16;
  SmallStoreRegressionTest() : StoreTest({.capacity = Segments(kSegments)}) {}
};

TEST_F(SmallStoreRegressionTest, APutDropsNoMoreThanASegmentOfALargeObject) {
  const auto guest = AddGuest(1);
  const PoolId pool = NewPool(guest, kEphemeral);
  const uint64_t full = RawPages(kSegments);
  ASSERT_EQ(Fill(guest, pool, 1, full), full);
  ASSERT_EQ(PoolStatsOf(1, pool).counters.evicted, 0);
  for (uint32_t i = 0; i < 3; ++i) {
    const uint64_t before = PoolStatsOf(1, pool).counters.evicted;
    for (uint64_t j = 0; j < RawPages(1); ++j) Put(guest, pool, 2, static_cast<uint32_t>(full + j));
    EXPECT_EQ(PoolStatsOf(1, pool).counters.evicted - before, RawPages(1));
    FlushObject(guest, pool, 2);
    ASSERT_EQ(Fill(guest, pool, 3 + i, RawPages(1)), RawPages(1));
  }
}

// One that held more than its share, from a time when nobody else wanted it, put new pages into the
// slots that its own left, and never gave a segment back.
TEST_F(SmallStoreRegressionTest, WhoHoldsMoreThanItsShareShrinksAsItsPagesGo) {
  const auto hog = AddGuest(1);
  const PoolId hog_pool = NewPool(hog, kPersistent);
  ASSERT_EQ(Fill(hog, hog_pool, 1, 10'000), RawPages(kSegments));
  const auto late = AddGuest(2);
  const PoolId late_pool = NewPool(late, kPersistent);
  EXPECT_EQ(Put(late, late_pool, 1, 0), PutStatus::kNoMemory) << "nobody's pages are dropped";
  for (uint32_t i = 0; i < RawPages(kSegments); ++i) {
    Flush(hog, hog_pool, 1, i);
    Put(hog, hog_pool, 2, i);
    Put(late, late_pool, 2, i);
  }
  EXPECT_LE(StatsOf(1).segments[1], Segments(kSegments / 2 + 1));
  EXPECT_GE(StatsOf(2).segments[1], Segments(kSegments / 2 - 1));
}

// Without moving pages: a hog that flushes pages here and there keeps some in each segment, so that
// its puts were refused, its memory was of no use to it, and nobody else got any.
TEST_F(SmallStoreRegressionTest, WhoHoldsMoreThanItsShareShrinksThoughItsPagesLieEverywhere) {
  const auto hog = AddGuest(1);
  const PoolId hog_pool = NewPool(hog, kPersistent);
  const uint32_t pages = RawPages(kSegments);
  ASSERT_EQ(Fill(hog, hog_pool, 1, 10'000), pages);
  const auto late = AddGuest(2);
  const PoolId late_pool = NewPool(late, kPersistent);
  const auto is_cold = [](uint32_t index) { return index % 2 == 0; };
  uint32_t stored_late = 0;
  for (uint32_t i = 0; i < pages; ++i) {
    if (!is_cold(i)) {
      Flush(hog, hog_pool, 1, i);
      Put(hog, hog_pool, 1, i);
    }
    stored_late += Put(late, late_pool, 1, i) == PutStatus::kStored;
  }
  EXPECT_LE(StatsOf(1).segments[1], Segments(kSegments / 2 + 1));
  EXPECT_GE(StatsOf(2).segments[1], Segments(kSegments / 2 - 1));
  EXPECT_GE(stored_late, RawPages(kSegments / 2 - 1));
  for (uint32_t i = 0; i < pages; ++i) {
    if (is_cold(i)) {
      ASSERT_EQ(Get(hog, hog_pool, 1, i), GetStatus::kHit) << i;
    }
  }
  EXPECT_GT(StatsOf(1).stored[1].pages, pages / 2 - RawPages(1)) << "what it puts it keeps again";
}

// The same hog, refused for good while nobody asked for what it held: segments seldom come free of
// themselves, and a swap device that puts as much as it flushes ran dry beside idle memory.
TEST_F(SmallStoreRegressionTest, WhoHoldsMoreThanItsShareGoesOnUntilAnotherNeedsTheRoom) {
  const auto hog = AddGuest(1);
  const PoolId hog_pool = NewPool(hog, kPersistent);
  const uint32_t pages = RawPages(kSegments);
  ASSERT_EQ(Fill(hog, hog_pool, 1, 10'000), pages);
  const auto late = AddGuest(2);
  const PoolId late_pool = NewPool(late, kPersistent);
  TimePoint now{};
  uint32_t next = 0;
  // Flushes a hundred of its pages and puts them again; how many are refused.
  const auto live_a_second = [&] {
    uint32_t refused = 0;
    for (uint32_t flushed = 0; flushed < 100; next = (next + 7) % pages) {
      if (Get(hog, hog_pool, 1, next) != GetStatus::kHit) continue;
      Flush(hog, hog_pool, 1, next);
      ++flushed;
      refused += Put(hog, hog_pool, 1, next) != PutStatus::kStored;
    }
    store_->Tick(now += std::chrono::seconds(1));
    return refused;
  };
  for (int i = 0; i < 20; ++i) ASSERT_EQ(live_a_second(), 0) << "nobody else asks for anything";
  ASSERT_EQ(Put(late, late_pool, 1, 0), PutStatus::kNoMemory);
  EXPECT_EQ(live_a_second(), 100) << "the other wants its share";
  for (uint32_t i = 0; i < Memory::kPatience; ++i) live_a_second();
  for (int i = 0; i < 20; ++i) ASSERT_EQ(live_a_second(), 0) << "the other has given up";
}

// "weights inverted": a guest under its share was evicted while hogs were spared, for nine years.
TEST_F(SmallStoreRegressionTest, AHogIsEvictedBeforeAGuestUnderItsShare) {
  auto settings = RawSettings();
  settings.weight = 200;
  const auto modest = AddGuest(1, settings);
  settings.weight = 100;
  const auto hog = AddGuest(2, settings);
  const auto swapper = AddGuest(3, settings);
  const PoolId little = NewPool(modest, kEphemeral);
  ASSERT_EQ(Fill(modest, little, 1, RawPages(3)), RawPages(3));
  Fill(hog, NewPool(hog, kEphemeral), 1, RawPages(50));
  EXPECT_EQ(PoolStatsOf(1, little).stored.pages, RawPages(3));
  EXPECT_EQ(StatsOf(2).segments[0], Segments(kSegments - 3));

  ASSERT_TRUE(store_->SetSurrendered(GuestId{3}, Segments(kSegments)));
  const PoolId swap = NewPool(swapper, kPersistent);
  ASSERT_EQ(Fill(swapper, swap, 1, RawPages(11)), RawPages(11));
  EXPECT_EQ(PoolStatsOf(1, little).stored.pages, RawPages(3)) << "the hog makes all the room";
  EXPECT_EQ(StatsOf(2).segments[0], Segments(2));
}

// The old hypervisor's page counts were wrong after a failed duplicate put, and stale data came
// back: whatever the reason of a refusal, the old page is gone.
TEST_F(SmallStoreRegressionTest, NoRefusedPutLeavesTheOldPage) {
  auto settings = RawSettings();
  settings.compress[1] = CompressMode::kFast;
  const auto guest = AddGuest(1, settings);
  const PoolId pool = NewPool(guest, kPersistent);
  for (uint32_t i = 0; i < 2; ++i) {  // so that the old page alone makes no room for the new one
    ASSERT_EQ(Put(guest, pool, 1, i, 1, PageLook::kZero), PutStatus::kStored);
  }
  ASSERT_LT(Fill(guest, pool, 2, RawPages(100)), RawPages(100));
  EXPECT_EQ(Put(guest, pool, 1, 0, 1, PageLook::kRandom), PutStatus::kNoMemory) << "capacity";
  EXPECT_EQ(Get(guest, pool, 1, 0), GetStatus::kMiss);

  settings.cap = Bytes(100);
  ASSERT_TRUE(store_->Configure(GuestId{1}, settings));
  EXPECT_EQ(Put(guest, pool, 2, 0, 1, PageLook::kRandom), PutStatus::kNoMemory) << "cap";
  EXPECT_EQ(Get(guest, pool, 2, 0), GetStatus::kMiss);

  settings.frozen = true;
  ASSERT_TRUE(store_->Configure(GuestId{1}, settings));
  EXPECT_EQ(Put(guest, pool, 2, 1), PutStatus::kFrozen);
  EXPECT_EQ(Get(guest, pool, 2, 1), GetStatus::kMiss);
}

// Two calls of DestroyPool at once could each believe that they had ended the pool: its id was
// released twice, or the pool that came after it was drained.
TEST_F(StoreRegressionTest, PoolsDestroyedTwiceAtOnceEndOnce) {
  const auto guest = AddGuest(1, SharingSettings());
  const auto other = AddGuest(2, SharingSettings());
  NewSharedPool(other, 1);
  for (int round = 0; round < 200; ++round) {
    const PoolId pool = round % 2 == 0 ? NewPool(guest, kPersistent) : NewSharedPool(guest, 1);
    for (uint32_t i = 0; i < 40; ++i) Put(guest, pool, i, i, i);
    std::atomic<int> done{0};
    const auto destroy = [&] {
      FlushStatus status;
      while ((status = store_->DestroyPool(*guest, pool, PageCount(3))) == FlushStatus::kMore) {
      }
      if (status == FlushStatus::kDone) done.fetch_add(1);
    };
    {
      std::jthread first(destroy);
      std::jthread second(destroy);
    }
    ASSERT_EQ(done.load(), 1);
    ASSERT_EQ(guest->ledger().charged(), Bytes(0));
  }
  EXPECT_EQ(guest->retired().puts, 100 * 40);
}

}  // namespace
}  // namespace tmem
