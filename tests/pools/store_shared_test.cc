// Pools that several guests share.
#include <gtest/gtest.h>

#include <vector>

#include "pools/store_fixture.h"

namespace tmem {
namespace {

using enum PageClass;

class SharedStoreTest : public StoreTest {
 protected:
  SharedStoreTest() {
    auto settings = RawSettings();
    settings.shared_auth = {UuidOf(1), UuidOf(2)};
    alice_ = AddGuest(1, settings);
    bob_ = AddGuest(2, settings);
  }
  GuestPointer alice_;
  GuestPointer bob_;
};

TEST_F(SharedStoreTest, GuestsShareThePages) {
  const PoolId a = NewSharedPool(alice_, 1);
  const PoolId b = NewSharedPool(bob_, 1);
  Put(alice_, a, 1, 1, 5);
  EXPECT_TRUE(Has(bob_, b, 1, 1, 5));
  EXPECT_TRUE(Has(bob_, b, 1, 1, 5)) << "a get from a shared pool leaves the page";
  EXPECT_TRUE(Has(alice_, a, 1, 1, 5));
  EXPECT_EQ(Flush(bob_, b, 1, 1), FlushStatus::kDone);
  EXPECT_EQ(Get(alice_, a, 1, 1), GetStatus::kEmpty);
  const PoolStats stats = PoolStatsOf(1, a);
  EXPECT_TRUE(stats.shared);
  EXPECT_EQ(stats.uuid, UuidOf(1));
  EXPECT_EQ(stats.sharers, 2);
  EXPECT_EQ(stats.counters.gets, 4);
  EXPECT_EQ(store_->Stats().shared_pools, 1);
}

TEST_F(SharedStoreTest, ThePoolLivesOnWhenAGuestLeaves) {
  const PoolId a = NewSharedPool(alice_, 1);
  const PoolId b = NewSharedPool(bob_, 1);
  for (uint32_t i = 0; i < 300; ++i) Put(alice_, a, i, i, i);
  EXPECT_EQ(store_->DestroyPool(*alice_, a, PageCount(1)), FlushStatus::kDone);
  EXPECT_EQ(Get(alice_, a, 1, 1), GetStatus::kNoPool);
  EXPECT_EQ(alice_->ledger().charged(), Bytes(0));
  EXPECT_EQ(bob_->ledger().charged(), kRawCharge * 300);
  for (uint32_t i = 0; i < 300; ++i) EXPECT_TRUE(Has(bob_, b, i, i, i));
  store_->RemoveGuest(GuestId{2});
  EXPECT_EQ(store_->Stats().shared_pools, 0);
  EXPECT_EQ(store_->Stats().segments[0], Bytes(0));
  EXPECT_EQ(store_->Stats().counters.gets, 300);
}

// A group's charges once were all taken before the first of its pages took the object over, which
// then had no room for what the object was charged already.
TEST_F(SharedStoreTest, PutsTogetherIntoAnothersObjectAreStoredAsIfOneAfterTheOther) {
  const PoolId a = NewSharedPool(alice_, 1);
  const PoolId b = NewSharedPool(bob_, 1);
  for (uint32_t i = 0; i < 5; ++i) Put(alice_, a, 1, i, i);
  auto settings = RawSettings();
  settings.shared_auth = {UuidOf(1)};
  settings.cap = kRawCharge * 8;
  ASSERT_TRUE(store_->Configure(GuestId{2}, settings));
  const Page page = MakePage(PageLook::kRandom, 77);
  Store::Puts puts(*store_, *bob_, codec_);
  for (uint32_t i = 0; i < Store::kGroup; ++i) puts.Add(HandleOf(b, 1, 10 + i), page);
  const auto statuses = puts.Enter();
  for (uint32_t i = 0; i < Store::kGroup; ++i) {
    EXPECT_EQ(statuses[i], i < 3 ? PutStatus::kStored : PutStatus::kNoMemory) << i;
  }
  EXPECT_EQ(bob_->ledger().charged(), settings.cap);
  EXPECT_EQ(alice_->ledger().charged(), Bytes(0));
}

TEST_F(SharedStoreTest, TheLastToLeaveDrainsWithinItsBudget) {
  const PoolId a = NewSharedPool(alice_, 1);
  for (uint32_t i = 0; i < 100; ++i) Put(alice_, a, i, i, i);
  EXPECT_EQ(store_->DestroyPool(*alice_, a, PageCount(40)), FlushStatus::kMore);
  EXPECT_EQ(alice_->ledger().charged(), kRawCharge * 60);
  const PoolId b = NewSharedPool(bob_, 1);
  EXPECT_EQ(Get(bob_, b, 1, 1), GetStatus::kEmpty) << "the uuid names a new pool by now";
  EXPECT_EQ(store_->DestroyPool(*alice_, a, PageCount(60)), FlushStatus::kDone);
  EXPECT_EQ(store_->DestroyPool(*alice_, a, PageCount(60)), FlushStatus::kNoPool);
  EXPECT_EQ(alice_->ledger().charged(), Bytes(0));
}

TEST_F(SharedStoreTest, TheHostHasSixteenSharedPools) {
  auto settings = RawSettings();
  for (uint64_t i = 0; i <= kMaxSharedPools; ++i) settings.shared_auth.insert(UuidOf(i));
  ASSERT_TRUE(store_->Configure(GuestId{1}, settings));
  ASSERT_TRUE(store_->Configure(GuestId{2}, settings));
  for (uint64_t i = 0; i < kMaxSharedPools - 1; ++i) NewSharedPool(alice_, i);
  NewSharedPool(bob_, kMaxSharedPools - 1);
  const auto seventeenth =
      store_->NewPool(*bob_, {.shared = true, .uuid = UuidOf(kMaxSharedPools)});
  ASSERT_FALSE(seventeenth);
  EXPECT_EQ(seventeenth.error(), NewPoolError::kNoSpace);
  EXPECT_EQ(PoolStatsOf(2, NewSharedPool(bob_, 3)).sharers, 2) << "existing ones may be joined";
}

TEST_F(SharedStoreTest, AJoinThatFindsNoPoolIdLeavesNoTrace) {
  for (uint32_t i = 0; i < kMaxPoolsPerGuest; ++i) NewPool(alice_, kEphemeral);
  EXPECT_EQ(store_->NewPool(*alice_, {.shared = true, .uuid = UuidOf(1)}).error(),
            NewPoolError::kNoSpace);
  EXPECT_EQ(store_->Stats().shared_pools, 0);
  const PoolId b = NewSharedPool(bob_, 1);
  EXPECT_EQ(PoolStatsOf(2, b).sharers, 1);
}

}  // namespace
}  // namespace tmem
