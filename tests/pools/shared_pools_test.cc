#include "pools/shared_pools.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <set>
#include <vector>

#include "pools/page_maker.h"

namespace tmem {
namespace {

using enum PageClass;

constexpr uint32_t kCapacity = 8;
constexpr Bytes kRawCharge = RecordCharge(kPageSize);
constexpr PageCount kAll{UINT64_MAX};

Uuid UuidOf(uint64_t n) { return Uuid{{n, n}}; }

class SharedPoolsTest : public testing::Test {
 protected:
  using Place = SharedPools::Place;

  Place Join(uint64_t uuid, Ledger& ledger, uint32_t weight = 1) {
    const auto place = pools_.Join(UuidOf(uuid), ledger, weight);
    EXPECT_TRUE(place);
    return *place;
  }
  PageRef Ref(uint64_t object) const {
    return {.ticket = {.word = &word_, .value = 1},
            .pool = 0,
            .object = MakeObjectId(object),
            .index = PageIndex{0}};
  }
  bool Put(Keyspace& keyspace, uint64_t object, Ledger& ledger) {
    const Page page = MakePage(PageLook::kRandom, object);
    auto slot = keyspace.heap(kEphemeral).Allocate(kPageSize);
    Charge charge = Charge::Take(ledger, kRawCharge);
    if (!slot || !charge) return false;
    Keyspace::Incoming incoming{{Codec::kRaw, page}, std::move(*slot), std::move(charge)};
    Keyspace::Fill(incoming, kEphemeral);
    return keyspace.Publish(Ref(object), kEphemeral, std::move(incoming),
                            Keyspace::OldPage::kUntouched) == PutStatus::kStored;
  }
  void PutMany(Place place, uint64_t first, uint64_t count, Ledger& ledger) {
    for (uint64_t i = first; i < first + count; ++i) {
      ASSERT_TRUE(Put(pools_.KeyspaceOf(place), i, ledger));
    }
  }
  uint64_t PagesIn(Place place) { return pools_.KeyspaceOf(place).StoredIn(0).pages; }
  void LeaveAndDrain(Place place, Ledger& ledger) {
    pools_.Leave(place, ledger);
    EXPECT_TRUE(pools_.Drain(place, ledger, kAll));
  }
  void TearDown() override {
    EXPECT_EQ(pools_.count(), 0);
    EXPECT_EQ(memory_.usage().in_use[0], 0);
    for (const Ledger* ledger : {&alice_, &bob_, &carol_}) {
      EXPECT_EQ(ledger->charged(), Bytes(0));
    }
    EXPECT_EQ(pools_.bytes(), empty_bytes_);
  }

  std::unique_ptr<Arena> arena_ = std::move(*Arena::Create(kCapacity));
  Memory memory_{*arena_, kCapacity};
  Ledger alice_{kUnlimited};
  Ledger bob_{kUnlimited};
  Ledger carol_{kUnlimited};
  std::atomic<uint64_t> word_{1};
  NodeBlocks blocks_;
  ObjectRecords records_{*Region::Anonymous(64 << 20)};
  const DictionaryFiles dictionaries_;
  SharedPools pools_{memory_, blocks_, records_, dictionaries_};
  const size_t empty_bytes_ = pools_.bytes();
};

TEST_F(SharedPoolsTest, AUuidNamesOnePool) {
  const Place place = Join(1, alice_);
  const Place other = Join(2, bob_);
  EXPECT_EQ(Join(1, bob_), place);
  EXPECT_NE(other, place);
  EXPECT_EQ(pools_.count(), 2);
  EXPECT_EQ(pools_.MembersOf(place), 2);
  EXPECT_EQ(pools_.UuidOf(place), UuidOf(1));
  LeaveAndDrain(place, alice_);
  LeaveAndDrain(place, bob_);
  LeaveAndDrain(other, bob_);
}

TEST_F(SharedPoolsTest, ThereAreSixteenPlaces) {
  std::set<Place> places;
  for (uint64_t i = 0; i < kMaxSharedPools; ++i) places.insert(Join(i, alice_));
  EXPECT_EQ(places.size(), kMaxSharedPools);
  EXPECT_FALSE(pools_.Join(UuidOf(99), bob_, 1));
  LeaveAndDrain(Join(3, bob_), bob_);  // an existing pool may still be joined
  LeaveAndDrain(*places.begin(), alice_);
  EXPECT_EQ(Join(99, alice_), *places.begin());
  for (const Place place : places) LeaveAndDrain(place, alice_);
}

TEST_F(SharedPoolsTest, OutlivesALeaverWhosePagesOthersPayFor) {
  const Place place = Join(1, alice_);
  Join(1, bob_);
  PutMany(place, 0, 100, alice_);
  LeaveAndDrain(place, alice_);
  EXPECT_EQ(alice_.charged(), Bytes(0));
  EXPECT_EQ(bob_.charged(), kRawCharge * 100);
  EXPECT_EQ(PagesIn(place), 100);
  LeaveAndDrain(place, bob_);
  EXPECT_EQ(PagesIn(place), 0);
}

TEST_F(SharedPoolsTest, DropsWhatNobodyCanPayFor) {
  const Place place = Join(1, alice_);
  Join(1, bob_);
  Join(1, carol_);
  bob_.SetCap(kRawCharge * 10);
  carol_.SetCap(kRawCharge * 20);
  PutMany(place, 0, 100, alice_);
  LeaveAndDrain(place, alice_);
  EXPECT_EQ(PagesIn(place), 30);
  EXPECT_EQ(bob_.charged(), kRawCharge * 10);
  EXPECT_EQ(carol_.charged(), kRawCharge * 20);
  LeaveAndDrain(place, carol_);
  LeaveAndDrain(place, bob_);
}

TEST_F(SharedPoolsTest, AMemberTwiceOverGoesOnPayingUntilItsSecondLeave) {
  const Place place = Join(1, alice_);
  Join(1, alice_);
  Join(1, bob_);
  PutMany(place, 0, 10, alice_);
  LeaveAndDrain(place, alice_);
  EXPECT_EQ(alice_.charged(), kRawCharge * 10);
  LeaveAndDrain(place, alice_);
  EXPECT_EQ(bob_.charged(), kRawCharge * 10);
  LeaveAndDrain(place, bob_);
}

// The last member's leave dropped the whole pool in one go, whatever its budget.
TEST_F(SharedPoolsTest, TheLastLeaverDrainsWithinItsBudget) {
  const Place place = Join(1, alice_);
  PutMany(place, 0, 100, alice_);
  pools_.Leave(place, alice_);
  EXPECT_EQ(PagesIn(place), 100);
  EXPECT_EQ(pools_.count(), 0);
  EXPECT_FALSE(pools_.Drain(place, alice_, PageCount(30)));
  EXPECT_EQ(PagesIn(place), 70);
  EXPECT_EQ(alice_.charged(), kRawCharge * 70);
  EXPECT_TRUE(pools_.Drain(place, alice_, PageCount(70)));
}

TEST_F(SharedPoolsTest, APoolThatIsDrainedIsNotJoined) {
  const Place place = Join(1, alice_);
  PutMany(place, 0, 100, alice_);
  pools_.Leave(place, alice_);
  const Place fresh = Join(1, bob_);
  EXPECT_NE(fresh, place);
  EXPECT_EQ(PagesIn(fresh), 0);
  EXPECT_TRUE(pools_.Drain(place, alice_, kAll));
  LeaveAndDrain(fresh, bob_);
}

// Somebody who left earlier went on draining a place that had new members by then.
TEST_F(SharedPoolsTest, OnlyTheLastLeaverDrains) {
  const Place place = Join(1, alice_);
  Join(1, bob_);
  PutMany(place, 0, 10, bob_);
  pools_.Leave(place, alice_);
  EXPECT_TRUE(pools_.Drain(place, alice_, kAll));
  EXPECT_EQ(PagesIn(place), 10);
  pools_.Leave(place, bob_);
  EXPECT_TRUE(pools_.Drain(place, alice_, kAll)) << "not hers to drain";
  EXPECT_EQ(PagesIn(place), 10);
  EXPECT_TRUE(pools_.Drain(place, bob_, kAll));

  ASSERT_EQ(Join(2, carol_), place);
  PutMany(place, 0, 10, carol_);
  EXPECT_TRUE(pools_.Drain(place, bob_, kAll));
  EXPECT_EQ(PagesIn(place), 10);
  LeaveAndDrain(place, carol_);
}

TEST_F(SharedPoolsTest, CountersOfAnEndedPoolAreKept) {
  const Place place = Join(1, alice_);
  PutMany(place, 0, 10, alice_);
  EXPECT_EQ(pools_.retired().puts, 0);
  LeaveAndDrain(place, alice_);
  EXPECT_EQ(pools_.retired().puts, 10);
  EXPECT_EQ(pools_.KeyspaceOf(place).CountersOf(0).puts, 0);
}

TEST_F(SharedPoolsTest, ALoweredCapDropsPages) {
  const Place place = Join(1, alice_);
  const Place other = Join(2, alice_);
  Join(1, bob_);
  PutMany(place, 0, 50, alice_);
  PutMany(other, 0, 50, alice_);
  PutMany(place, 100, 10, bob_);
  alice_.SetCap(kRawCharge * 30);
  pools_.Shrink(alice_);
  EXPECT_EQ(alice_.charged(), kRawCharge * 30);
  EXPECT_EQ(bob_.charged(), kRawCharge * 10);
  EXPECT_EQ(PagesIn(place) + PagesIn(other), 40);
  LeaveAndDrain(place, alice_);
  LeaveAndDrain(other, alice_);
  LeaveAndDrain(place, bob_);
}

// ---- weight ----

// A pool's weight stayed what the heaviest member ever was, and did not follow its settings.
TEST_F(SharedPoolsTest, WeighsAsMuchAsItsHeaviestMember) {
  const auto rival = Keyspace::Create(memory_, blocks_, records_, dictionaries_,
                                      {.id = 100, .hash_key = 1}, {.weight = 10});
  const Place place = Join(1, alice_, 5);
  Join(1, bob_, 40);
  const auto segments_a_pool = [&] { return memory_.HeldBy(pools_.KeyspaceOf(place).stake())[0]; };
  // Fills the memory from both sides, and tells how it was divided.
  uint64_t serial = 0;
  const auto compete = [&] {
    for (uint32_t i = 0; i < 2 * kCapacity * 254; ++i) {
      EXPECT_TRUE(Put(*rival, ++serial, carol_));
      EXPECT_TRUE(Put(pools_.KeyspaceOf(place), ++serial, alice_));
    }
    return segments_a_pool();
  };
  EXPECT_NEAR(compete(), kCapacity * 40 / 50, 1);
  pools_.Leave(place, bob_);
  EXPECT_NEAR(compete(), kCapacity * 5 / 15, 1);
  pools_.SetWeight(alice_, 30);
  EXPECT_NEAR(compete(), kCapacity * 30 / 40, 1);
  pools_.SetWeight(bob_, 1000);
  EXPECT_NEAR(compete(), kCapacity * 30 / 40, 1) << "not a member any more";

  LeaveAndDrain(place, alice_);
  while (rival->EvictOldestSegment()) {
  }
}

}  // namespace
}  // namespace tmem
