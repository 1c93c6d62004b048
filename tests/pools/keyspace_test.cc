#include "pools/keyspace.h"

#include <gtest/gtest.h>

#include <cstring>

#include "pools/keyspace_fixture.h"

namespace tmem {
namespace {

class PersistentKeyspaceTest : public KeyspaceTest {
 protected:
  PersistentKeyspaceTest() { class_ = kPersistent; }
};

// ---- contents ----

TEST_F(PersistentKeyspaceTest, ReturnsWhatWasPutWhateverTheCodec) {
  uint32_t index = 0;
  for (const auto mode : {CompressMode::kOff, CompressMode::kFast, CompressMode::kDense}) {
    for (int look = 0; look < kPageLooks; ++look) {
      const Page page = MakePage(static_cast<PageLook>(look), 77);
      ASSERT_EQ(Put(Ref(1, index), kPersistent, page, ledger_, mode), PutStatus::kStored);
      Page back = MakePage(PageLook::kRandom, 1);
      ASSERT_EQ(keyspace_->Get(Ref(1, index), kPersistent, Removal::kNever, back, codec_),
                GetStatus::kHit);
      EXPECT_EQ(back, page) << static_cast<PageLook>(look);
      ++index;
    }
  }
  EXPECT_EQ(Stored().pages, 12);
  EXPECT_EQ(Stored().objects, 1);
  EXPECT_EQ(Stored().same_filled, 6);
  EXPECT_EQ(Stored().compressed, 2);
  EXPECT_EQ(Stored().charged_bytes, ledger_.charged().value);
}

TEST_F(KeyspaceTest, TellsHandlesApart) {
  Put(Ref(1, 1), kEphemeral, 11);
  Put(Ref(1, 2), kEphemeral, 12);
  Put(Ref(2, 1), kEphemeral, 21);
  Put(Ref(1, 1, 4), kEphemeral, 411);
  EXPECT_TRUE(Has(Ref(1, 1), kEphemeral, 11));
  EXPECT_TRUE(Has(Ref(1, 2), kEphemeral, 12));
  EXPECT_TRUE(Has(Ref(2, 1), kEphemeral, 21));
  EXPECT_TRUE(Has(Ref(1, 1, 4), kEphemeral, 411));
}

TEST_F(KeyspaceTest, AnExclusiveGetTakesThePage) {
  Put(Ref(1, 1), kEphemeral, 11);
  EXPECT_TRUE(Has(Ref(1, 1), kEphemeral, 11));
  EXPECT_TRUE(Has(Ref(1, 1), kEphemeral, 11, Removal::kOnHit));
  EXPECT_EQ(Get(Ref(1, 1), kEphemeral), GetStatus::kEmpty);
  EXPECT_EQ(Segments(kEphemeral), 0);
}

TEST_F(KeyspaceTest, AMissInAPoolWithoutPagesSaysSo) {
  EXPECT_EQ(Get(Ref(1, 1), kEphemeral), GetStatus::kEmpty);
  Put(Ref(1, 1, 4), kEphemeral, 1);
  EXPECT_EQ(Get(Ref(1, 1), kEphemeral), GetStatus::kEmpty) << "another pool's pages do not count";
  Put(Ref(2, 2), kEphemeral, 1);
  EXPECT_EQ(Get(Ref(1, 1), kEphemeral), GetStatus::kMiss);
  EXPECT_EQ(Counters().gets, 3);
  EXPECT_EQ(Counters().gets_found, 0);
}

TEST_F(KeyspaceTest, APutReplacesTheOlderPage) {
  Put(Ref(1, 1), kEphemeral, 1);
  EXPECT_EQ(Put(Ref(1, 1), kEphemeral, 2), PutStatus::kStored);
  EXPECT_TRUE(Has(Ref(1, 1), kEphemeral, 2));
  EXPECT_EQ(Counters().puts_stored, 2);
  EXPECT_EQ(Counters().dup_puts_replaced, 1);
  EXPECT_EQ(Stored().pages, 1);
  EXPECT_EQ(ledger_.charged(), kRawCharge);
}

TEST_F(KeyspaceTest, ARefusedPutDropsTheOlderPage) {
  Put(Ref(1, 1), kEphemeral, 1);
  EXPECT_EQ(keyspace_->Refuse(Ref(1, 1), kEphemeral, PutStatus::kFrozen, OldPage::kUntouched),
            PutStatus::kFrozen);
  EXPECT_EQ(Get(Ref(1, 1), kEphemeral), GetStatus::kEmpty);
  EXPECT_EQ(Counters().puts, 2);
  EXPECT_EQ(Counters().puts_frozen, 1);
  EXPECT_EQ(Counters().puts_no_memory, 0);
  EXPECT_EQ(Counters().dup_puts_flushed, 1);
}

// An old page that made room for its successor counted as "of the refused puts" although the put
// was stored.
TEST_F(KeyspaceTest, AnOldPageThatMadeRoomCountsAsReplaced) {
  Put(Ref(1, 1), kEphemeral, 1);
  EXPECT_FALSE(keyspace_->MakeRoomByReplacing(Ref(1, 2), kEphemeral));
  EXPECT_TRUE(keyspace_->MakeRoomByReplacing(Ref(1, 1), kEphemeral));
  EXPECT_EQ(ledger_.charged(), Bytes(0));

  const Page page = MakePage(PageLook::kRandom, 2);
  auto slot = keyspace_->heap(kEphemeral).Allocate(kPageSize);
  Keyspace::Incoming incoming{
      {Codec::kRaw, page}, std::move(*slot), Charge::Take(ledger_, kRawCharge)};
  Keyspace::Fill(incoming, kEphemeral);
  EXPECT_EQ(keyspace_->Publish(Ref(1, 1), kEphemeral, std::move(incoming), OldPage::kDropped),
            PutStatus::kStored);
  EXPECT_EQ(Counters().dup_puts_replaced, 1);
  EXPECT_EQ(Counters().dup_puts_flushed, 0);

  EXPECT_TRUE(keyspace_->MakeRoomByReplacing(Ref(1, 1), kEphemeral));
  keyspace_->Refuse(Ref(1, 1), kEphemeral, PutStatus::kNoMemory, OldPage::kDropped);
  EXPECT_EQ(Counters().dup_puts_replaced, 1);
  EXPECT_EQ(Counters().dup_puts_flushed, 1);
}

TEST_F(KeyspaceTest, NothingEntersAPoolThatEnded) {
  Put(Ref(1, 1), kEphemeral, 1);
  word_.store(2);
  EXPECT_EQ(Put(Ref(1, 2), kEphemeral, 2), PutStatus::kNoPool);
  EXPECT_EQ(keyspace_->Refuse(Ref(1, 1), kEphemeral, PutStatus::kFrozen, OldPage::kUntouched),
            PutStatus::kNoPool);
  EXPECT_FALSE(keyspace_->MakeRoomByReplacing(Ref(1, 1), kEphemeral));
  EXPECT_EQ(Get(Ref(1, 1), kEphemeral), GetStatus::kNoPool);
  EXPECT_EQ(keyspace_->FlushPage(Ref(1, 1), kEphemeral), FlushStatus::kNoPool);
  EXPECT_EQ(keyspace_->FlushObject(Ref(1, 1), kEphemeral, PageCount(9)), FlushStatus::kNoPool);
  EXPECT_EQ(ledger_.charged(), kRawCharge) << "the refused page's charge is released";
  EXPECT_EQ(Counters().puts, 1);
}

// ---- flush ----

TEST_F(KeyspaceTest, FlushingWhatIsNotThereSucceeds) {
  EXPECT_EQ(keyspace_->FlushPage(Ref(1, 1), kEphemeral), FlushStatus::kDone);
  EXPECT_EQ(keyspace_->FlushObject(Ref(1, 1), kEphemeral, PageCount(9)), FlushStatus::kDone);
  Put(Ref(1, 1), kEphemeral, 1);
  EXPECT_EQ(keyspace_->FlushPage(Ref(1, 1), kEphemeral), FlushStatus::kDone);
  EXPECT_EQ(Counters().flushes, 2);
  EXPECT_EQ(Counters().flushes_found, 1);
  EXPECT_EQ(Counters().object_flushes, 1);
  EXPECT_EQ(Counters().object_flushes_found, 0);
}

// A budget was rounded up to the number of pages that leave under one hold of the lock.
TEST_F(PersistentKeyspaceTest, FlushObjectKeepsToItsBudget) {
  for (const uint64_t budget : {1, 10, 63, 64, 65, 200}) {
    SCOPED_TRACE(budget);
    constexpr uint64_t kPages = 200;
    for (uint32_t i = 0; i < kPages; ++i) Put(Ref(1, i * 50), kPersistent, i);
    Put(Ref(2, 0), kPersistent, 7);
    uint64_t left = kPages;
    const uint64_t found_before = Counters().object_flushes_found;
    EXPECT_EQ(keyspace_->FlushObject(Ref(1, 0), kPersistent, PageCount(0)), FlushStatus::kMore);
    EXPECT_EQ(Stored().pages, left + 1);
    while (left > budget) {
      ASSERT_EQ(keyspace_->FlushObject(Ref(1, 0), kPersistent, PageCount(budget)),
                FlushStatus::kMore);
      left -= budget;
      ASSERT_EQ(Stored().pages, left + 1);
    }
    EXPECT_EQ(keyspace_->FlushObject(Ref(1, 0), kPersistent, PageCount(budget)),
              FlushStatus::kDone);
    EXPECT_EQ(Stored().pages, 1);
    EXPECT_EQ(Stored().objects, 1);
    EXPECT_EQ(Counters().object_flushes_found, found_before + 1);
    EXPECT_TRUE(Has(Ref(2, 0), kPersistent, 7));
  }
}

TEST_F(KeyspaceTest, DrainKeepsToItsBudget) {
  constexpr uint64_t kPages = 300;
  for (uint32_t i = 0; i < kPages; ++i) Put(Ref(i / 7, i), kEphemeral, i);
  Put(Ref(1, 1, 4), kEphemeral, 41);
  word_.store(2);
  uint64_t left = kPages;
  while (left > 37) {
    ASSERT_FALSE(keyspace_->Drain(kPool, kEphemeral, PageCount(37)));
    left -= 37;
    ASSERT_EQ(Stored().pages, left);
  }
  EXPECT_FALSE(keyspace_->Drain(kPool, kEphemeral, PageCount(0)));
  EXPECT_TRUE(keyspace_->Drain(kPool, kEphemeral, PageCount(37)));
  EXPECT_TRUE(keyspace_->Drain(kPool, kEphemeral, PageCount(0)));
  EXPECT_EQ(Stored().pages, 0);
  EXPECT_EQ(Stored(4).pages, 1) << "other pools are left alone";
  EXPECT_EQ(keyspace_->TakeCounters(kPool).puts, kPages);
  EXPECT_EQ(Counters().puts, 0);
}

// ---- integrity ----

TEST_F(PersistentKeyspaceTest, ADamagedPersistentPageIsNeverDelivered) {
  Put(Ref(1, 1), kPersistent, 5);
  std::byte* const payload = arena_->BaseOf(0);
  payload[100] ^= std::byte{1};
  EXPECT_EQ(Get(Ref(1, 1), kPersistent), GetStatus::kCorrupt);
  EXPECT_EQ(Get(Ref(1, 1), kPersistent), GetStatus::kCorrupt) << "it stays, for whoever looks";
  EXPECT_EQ(Counters().corrupt, 2);
  EXPECT_EQ(Counters().gets_found, 0);
  payload[100] ^= std::byte{1};
  EXPECT_TRUE(Has(Ref(1, 1), kPersistent, 5));
}

TEST_F(PersistentKeyspaceTest, AScrubFindsDamagedPagesAndNoOthers) {
  constexpr uint32_t kPages = 200;
  for (uint32_t i = 0; i < kPages; ++i) {
    const PageLook look = i % 2 == 0 ? PageLook::kText : PageLook::kRandom;
    ASSERT_EQ(
        Put(Ref(i / 50, i * 1000), kPersistent, MakePage(look, i), ledger_, CompressMode::kFast),
        PutStatus::kStored);
  }
  for (uint32_t i = 0; i < 100; ++i) Put(Ref(i, 1, kPool + 1), kEphemeral, i);
  // As many small steps as it takes; the pages that they found, by the handles' indexes.
  const auto scrub = [this](uint64_t budget, uint64_t& checked) {
    std::multiset<uint32_t> corrupt;
    Keyspace::PassPlace place;
    while (place.partition < Keyspace::kPartitions) {
      checked += keyspace_->Scrub(place, PageCount(budget),
                                  [&](uint32_t pool, const ObjectId& object, PageIndex index) {
                                    EXPECT_EQ(pool, kPool);
                                    EXPECT_EQ(object, MakeObjectId(index.value / 1000 / 50));
                                    corrupt.insert(index.value);
                                  });
    }
    return corrupt;
  };
  for (const uint64_t budget : {uint64_t{4}, uint64_t{13}, UINT64_MAX / 2}) {
    uint64_t checked = 0;
    EXPECT_TRUE(scrub(budget, checked).empty());
    EXPECT_EQ(checked, kPages) << "each page once";
  }
  // Of each raw page the first byte lies at the start of its slot, and of the segment with raw
  // pages all else is headers.
  std::multiset<uint32_t> damaged;
  for (SegmentId segment = 0; segment < kCapacity; ++segment) {
    for (uint32_t slot = 0; slot < RawSlots(); slot += 7) {
      std::byte* const payload = arena_->BaseOf(segment) + slot * kPageSize;
      const RecordHeader& header = HeaderAt(arena_->BaseOf(segment), slot);
      const auto owner = arena_->OwnerOf(segment);
      if (!owner || owner->page_class != kPersistent || header.codec != Codec::kRaw ||
          header.state == 0) {
        continue;
      }
      payload[slot % kPageSize] ^= std::byte{0x10};
      damaged.insert(header.index);
    }
  }
  ASSERT_GT(damaged.size(), 5);
  uint64_t checked = 0;
  EXPECT_EQ(scrub(7, checked), damaged);
  EXPECT_EQ(checked, kPages);
}

TEST_F(KeyspaceTest, ADamagedEphemeralPageIsDropped) {
  for (const auto removal : {Removal::kNever, Removal::kOnHit}) {
    const Page text = MakePage(PageLook::kText, 5);
    ASSERT_EQ(Put(Ref(1, 1), kEphemeral, text, ledger_, CompressMode::kFast), PutStatus::kStored);
    std::memset(arena_->BaseOf(0), 0xff, 1000);
    EXPECT_EQ(Get(Ref(1, 1), kEphemeral, removal), GetStatus::kCorrupt);
    EXPECT_EQ(Get(Ref(1, 1), kEphemeral), GetStatus::kEmpty);
  }
  EXPECT_EQ(Counters().corrupt, 2);
  EXPECT_EQ(Counters().gets_found, 0);
}

TEST_F(KeyspaceTest, EvictsTheOldestSegmentWhole) {
  EXPECT_FALSE(keyspace_->EvictOldestSegment());
  for (uint32_t i = 0; i < 2 * RawSlots(); ++i) Put(Ref(i % 10, i), kEphemeral, i);
  EXPECT_TRUE(keyspace_->EvictOldestSegment());
  EXPECT_EQ(Segments(kEphemeral), 1);
  EXPECT_EQ(Counters().evicted, RawSlots());
  for (uint32_t i = 0; i < 2 * RawSlots(); ++i) {
    if (i < RawSlots()) {
      ASSERT_EQ(Get(Ref(i % 10, i), kEphemeral), GetStatus::kMiss);
    } else {
      ASSERT_TRUE(Has(Ref(i % 10, i), kEphemeral, i));
    }
  }
}

TEST_F(KeyspaceTest, APageThatWasUsedGetsASecondChanceIfThereIsRoom) {
  for (uint32_t i = 0; i < 2 * RawSlots() - 5; ++i) Put(Ref(1, i), kEphemeral, i);
  for (uint32_t i = 0; i < 10; ++i) ASSERT_TRUE(Has(Ref(1, i), kEphemeral, i));
  EXPECT_TRUE(keyspace_->EvictOldestSegment());
  EXPECT_EQ(Counters().evicted, RawSlots() - 5) << "as many as there were free slots stay";
  EXPECT_EQ(Segments(kEphemeral), 1);
  uint32_t kept = 0;
  for (uint32_t i = 0; i < 10; ++i) kept += Has(Ref(1, i), kEphemeral, i) ? 1 : 0;
  EXPECT_EQ(kept, 5);
  EXPECT_EQ(ledger_.charged(), kRawCharge * RawSlots());
}

TEST_F(KeyspaceTest, ASecondChanceIsGivenOnce) {
  Put(Ref(1, 1), kEphemeral, 1);
  ASSERT_TRUE(Has(Ref(1, 1), kEphemeral, 1));
  EXPECT_TRUE(keyspace_->EvictOldestSegment()) << "no other segment has room";
  EXPECT_EQ(Stored().pages, 0);
}

// A segment's pages were once moved all together, up to 26,214 small ones while a put waited.
TEST_F(PersistentKeyspaceTest, CompactsAFewPagesAtATime) {
  const uint32_t pages = 2 * RawSlots();
  for (uint32_t i = 0; i < pages; ++i) Put(Ref(1, i), kPersistent, i);
  ASSERT_EQ(Segments(kPersistent), 2);
  const auto stays = [](uint32_t index) { return index % 3 == 0; };
  uint32_t in_sparsest = 0;
  for (uint32_t i = 0; i < pages; ++i) {
    in_sparsest += stays(i) && i < RawSlots();
    if (!stays(i)) keyspace_->FlushPage(Ref(1, i), kPersistent);
  }
  uint32_t calls = 0;
  for (; Segments(kPersistent) == 2; ++calls) {
    ASSERT_LT(calls, pages) << "it comes to no end";
    keyspace_->Compact();
  }
  EXPECT_EQ(calls, (in_sparsest + Keyspace::kMovedAtOnce - 1) / Keyspace::kMovedAtOnce);
  keyspace_->Compact();
  EXPECT_EQ(Segments(kPersistent), 1) << "one segment's pages fit nowhere else";
  for (uint32_t i = 0; i < pages; ++i) {
    if (!stays(i)) continue;
    ASSERT_TRUE(Has(Ref(1, i), kPersistent, i));
  }
}

TEST_F(KeyspaceTest, EvictionLeavesReplacedAndReusedSlotsAlone) {
  // The object's number and the slots get new owners before the segment goes.
  for (uint32_t i = 0; i < RawSlots(); ++i) Put(Ref(1, i), kEphemeral, i);
  keyspace_->FlushObject(Ref(1, 0), kEphemeral, PageCount(1000));
  for (uint32_t i = 0; i < 10; ++i) Put(Ref(2, i, 5), kEphemeral, 100 + i);
  EXPECT_TRUE(keyspace_->EvictOldestSegment());
  EXPECT_EQ(Counters(5).evicted, 10);
  EXPECT_EQ(Counters().evicted, 0);
  EXPECT_FALSE(keyspace_->EvictOldestSegment());
}

// ---- who pays ----

TEST_F(KeyspaceTest, AnObjectIsPaidByWhoPutLast) {
  const Page page = MakePage(PageLook::kRandom, 1);
  Put(Ref(1, 1), kEphemeral, page, ledger_);
  Put(Ref(1, 2), kEphemeral, page, ledger_);
  Put(Ref(2, 1), kEphemeral, page, ledger_);
  Put(Ref(1, 3), kEphemeral, page, other_ledger_);
  EXPECT_EQ(ledger_.charged(), kRawCharge);
  EXPECT_EQ(other_ledger_.charged(), kRawCharge * 3);
}

TEST_F(KeyspaceTest, WhoCannotPayForTheWholeObjectIsRefused) {
  const Page page = MakePage(PageLook::kRandom, 1);
  for (uint32_t i = 0; i < 5; ++i) Put(Ref(1, i), kEphemeral, page, ledger_);
  other_ledger_.SetCap(kRawCharge * 5);
  EXPECT_EQ(Put(Ref(1, 9), kEphemeral, page, other_ledger_), PutStatus::kNoMemory);
  EXPECT_EQ(Stored().pages, 5);
  EXPECT_EQ(Put(Ref(1, 4), kEphemeral, page, other_ledger_), PutStatus::kNoMemory);
  EXPECT_EQ(Stored().pages, 4) << "a refused put drops the older page";
  EXPECT_EQ(Counters().dup_puts_flushed, 1);
  EXPECT_EQ(Counters().puts_no_memory, 2);
  EXPECT_EQ(other_ledger_.charged(), Bytes(0));
  EXPECT_EQ(Put(Ref(1, 9), kEphemeral, page, other_ledger_), PutStatus::kStored);
  EXPECT_EQ(other_ledger_.charged(), kRawCharge * 5);
  EXPECT_EQ(ledger_.charged(), Bytes(0));
}

TEST_F(KeyspaceTest, RepayChargesOthersAsFarAsTheyHaveRoom) {
  constexpr uint32_t kObjects = 50;
  const Page page = MakePage(PageLook::kRandom, 1);
  Ledger third{kUnlimited};
  for (uint32_t i = 0; i < kObjects; ++i) {
    for (uint32_t j = 0; j < 10; ++j) Put(Ref(i, j), kEphemeral, page, ledger_);
    Put(Ref(1000 + i, 0), kEphemeral, page, third);
  }
  other_ledger_.SetCap(kRawCharge * 10 * 20);
  Ledger* const others[] = {&other_ledger_};
  keyspace_->Repay(kPool, kEphemeral, ledger_, Bytes(0), others);
  EXPECT_EQ(ledger_.charged(), Bytes(0));
  EXPECT_EQ(other_ledger_.charged(), kRawCharge * 10 * 20);
  EXPECT_EQ(Stored().pages, 10 * 20 + kObjects);
  EXPECT_EQ(Counters().evicted, 10 * 30) << "pages dropped for want of room are counted";
  EXPECT_EQ(third.charged(), kRawCharge * kObjects) << "who pays already is left alone";
  keyspace_->Repay(kPool, kEphemeral, third, Bytes(0), {});
  EXPECT_EQ(third.charged(), Bytes(0));
}

TEST_F(KeyspaceTest, RepayStopsWhenEnoughIsRepaid) {
  const Page page = MakePage(PageLook::kRandom, 1);
  for (uint32_t i = 0; i < 100; ++i) Put(Ref(i, 0), kEphemeral, page, ledger_);
  keyspace_->Repay(kPool, kEphemeral, ledger_, kRawCharge * 60 + Bytes(1), {});
  EXPECT_EQ(ledger_.charged(), kRawCharge * 60);
  keyspace_->Repay(kPool, kEphemeral, ledger_, kRawCharge * 70, {});
  EXPECT_EQ(ledger_.charged(), kRawCharge * 60);
}

}  // namespace
}  // namespace tmem
