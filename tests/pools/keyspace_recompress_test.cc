// Pages of a keyspace that are compressed while they lie stored.
#include <gtest/gtest.h>

#include "pools/keyspace_fixture.h"

namespace tmem {
namespace {

class RecompressionTest : public KeyspaceTest {
 protected:
  RecompressionTest() : KeyspaceTest(64) {}

  static constexpr PageLook kLooks[] = {PageLook::kText, PageLook::kRandom, PageLook::kSameFilled,
                                        PageLook::kText};

  void PutToCompressLater(const PageRef& ref, PageLook look, uint64_t seed) {
    ASSERT_EQ(Put(ref, class_, MakePage(look, seed), ledger_, CompressMode::kAuto),
              PutStatus::kStored);
  }
  testing::AssertionResult Holds(const PageRef& ref, PageLook look, uint64_t seed) {
    Page page;
    const GetStatus status = keyspace_->Get(ref, class_, Removal::kNever, page, codec_);
    if (status != GetStatus::kHit) {
      return testing::AssertionFailure() << "get status " << static_cast<int>(status);
    }
    return page == MakePage(look, seed) ? testing::AssertionSuccess()
                                        : testing::AssertionFailure() << "other contents";
  }
  void CompressAll() {
    while (keyspace_->CompressNext(codec_)) {
    }
  }
  uint64_t Pass() {
    uint64_t compressed = 0;
    for (Keyspace::PassPlace place; place.partition < Keyspace::kPartitions;) {
      compressed += keyspace_->DensifySome(place, codec_);
    }
    return compressed;
  }
};

class PersistentRecompressionTest : public RecompressionTest {
 protected:
  PersistentRecompressionTest() { class_ = kPersistent; }
};

TEST_F(PersistentRecompressionTest, PagesShrinkAndStayTheSame) {
  constexpr uint32_t kPages = 400;
  for (uint32_t i = 0; i < kPages; ++i) PutToCompressLater(Ref(i / 4, i * 999), kLooks[i % 4], i);
  EXPECT_EQ(Stored().compressed, 0);
  EXPECT_EQ(keyspace_->backlog().size(), kPages);
  const Bytes before = ledger_.charged();
  CompressAll();
  for (uint32_t i = 0; i < kPages; ++i) {
    ASSERT_TRUE(Holds(Ref(i / 4, i * 999), kLooks[i % 4], i)) << i;
  }
  EXPECT_EQ(Stored().pages, kPages);
  EXPECT_EQ(Stored().compressed, kPages / 2);
  EXPECT_EQ(Stored().dense, 0);
  EXPECT_EQ(Stored().same_filled, kPages / 4);
  EXPECT_EQ(Stored().charged_bytes, ledger_.charged().value);
  EXPECT_LT(ledger_.charged().value, before.value / 4 * 3);
  const RecompressionCounters counters = keyspace_->recompressed();
  EXPECT_EQ(counters.waiting, 0);
  EXPECT_EQ(counters.made_fast, kPages / 2);
  EXPECT_EQ(counters.left, kPages / 4);
}

TEST_F(RecompressionTest, EphemeralPagesShrinkToo) {
  for (uint32_t i = 0; i < 100; ++i) PutToCompressLater(Ref(i, i), PageLook::kText, i);
  CompressAll();
  EXPECT_EQ(Stored().compressed, 100);
  for (uint32_t i = 0; i < 100; ++i) ASSERT_TRUE(Holds(Ref(i, i), PageLook::kText, i));
}

TEST_F(PersistentRecompressionTest, PagesThatGoOrChangeWhileTheyWaitAreLeftAlone) {
  for (uint32_t i = 0; i < 40; ++i) PutToCompressLater(Ref(i, 1), PageLook::kText, i);
  for (uint32_t i = 0; i < 40; i += 2) keyspace_->FlushPage(Ref(i, 1), kPersistent);
  // Numbers of objects that went are others' now: of the other class, or of pages that were not
  // to be compressed later.
  for (uint32_t i = 0; i < 10; ++i) Put(Ref(1000 + i, 1, kPool + 1), kEphemeral, i);
  for (uint32_t i = 1; i < 40; i += 4) Put(Ref(i, 1), kPersistent, 100 + i);
  CompressAll();
  for (uint32_t i = 0; i < 10; ++i) {
    EXPECT_TRUE(Has(Ref(1000 + i, 1, kPool + 1), kEphemeral, i, Removal::kOnHit));
  }
  for (uint32_t i = 1; i < 40; i += 4) EXPECT_TRUE(Has(Ref(i, 1), kPersistent, 100 + i));
  for (uint32_t i = 3; i < 40; i += 4) EXPECT_TRUE(Holds(Ref(i, 1), PageLook::kText, i));
  EXPECT_EQ(Stored().compressed, 10);
  EXPECT_EQ(Stored().charged_bytes, ledger_.charged().value);
}

// Four in a row that do not shrink, and only each sixteenth page of the object is tried.
TEST_F(PersistentRecompressionTest, AnObjectThatDoesNotShrinkIsRemembered) {
  const auto put_and_compress = [this](uint32_t index, PageLook look) {
    PutToCompressLater(Ref(1, index), look, index);
    CompressAll();
  };
  for (uint32_t i = 0; i < 4; ++i) put_and_compress(i, PageLook::kRandom);
  for (uint32_t i = 4; i < 16; ++i) put_and_compress(i, PageLook::kText);
  EXPECT_EQ(Stored().compressed, 0) << "not tried";
  for (uint32_t i = 16; i < 32; ++i) put_and_compress(i, PageLook::kText);
  EXPECT_EQ(Stored().compressed, 16) << "the first of these told that it is worth it again";
  PutToCompressLater(Ref(2, 5), PageLook::kText, 5);
  CompressAll();
  EXPECT_EQ(Stored().compressed, 17) << "another object is another matter";
}

TEST_F(PersistentRecompressionTest, OnlyPagesThatStayUnreadBecomeDense) {
  constexpr uint32_t kPages = Dictionary::kMaxSamples;
  constexpr uint32_t kRead = 50;
  constexpr uint32_t kNew = 20;
  for (uint32_t i = 0; i < kPages; ++i) PutToCompressLater(Ref(i % 3, i), PageLook::kText, i);
  CompressAll();
  const uint64_t fast_bytes = Stored().payload_bytes;
  EXPECT_EQ(Pass(), kPages);
  EXPECT_EQ(Pass(), kPages);
  EXPECT_EQ(Stored().dense, 0) << "there is no dictionary";
  EXPECT_FALSE(keyspace_->TrainDictionary(kPages - 1, codec_)) << "too few";
  const size_t bytes = keyspace_->bytes();
  EXPECT_TRUE(keyspace_->TrainDictionary(kPages, codec_));
  dictionary_bytes_ = keyspace_->bytes() - bytes;
  EXPECT_FALSE(keyspace_->TrainDictionary(kPages, codec_)) << "there is one for so many";
  Pass();
  EXPECT_EQ(Stored().dense, 0) << "the passes before had no use for marks";
  for (uint32_t i = 0; i < kRead; ++i) ASSERT_TRUE(Holds(Ref(i % 3, i), PageLook::kText, i));
  for (uint32_t i = kPages; i < kPages + kNew; ++i) {
    PutToCompressLater(Ref(i % 3, i), PageLook::kText, i);
  }
  CompressAll();
  Pass();
  // Some pages are so small that they save too little.
  const RecompressionCounters counters = keyspace_->recompressed();
  EXPECT_EQ(counters.made_dense + counters.left, kPages - kRead);
  EXPECT_GT(counters.made_dense, 9 * counters.left);
  EXPECT_EQ(Stored().dense, counters.made_dense);
  EXPECT_EQ(Stored().compressed, kPages + kNew);
  EXPECT_LT(Stored().payload_bytes, fast_bytes);
  EXPECT_GT(Stored().dense_bytes, 0);
  EXPECT_EQ(Stored().charged_bytes, ledger_.charged().value);
  for (uint32_t i = 0; i < kPages + kNew; ++i) {
    ASSERT_TRUE(Holds(Ref(i % 3, i), PageLook::kText, i)) << i;
  }
}

TEST_F(PersistentRecompressionTest, PagesWithoutAnythingInCommonGiveNoDictionary) {
  EXPECT_TRUE(keyspace_->TrainDictionary(Dictionary::kMaxSamples, codec_)) << "tried";
  EXPECT_FALSE(keyspace_->TrainDictionary(Dictionary::kMaxSamples, codec_)) << "and not again";
}

// A backlog that was full, or a process before this one, leaves raw pages that wait in no queue.
TEST_F(PersistentRecompressionTest, APassFindsRawPagesThatWaitInNoQueue) {
  for (uint32_t i = 0; i < 100; ++i) {
    ASSERT_EQ(Put(Ref(i, i), kPersistent, MakePage(PageLook::kText, i), ledger_),
              PutStatus::kStored);
  }
  EXPECT_EQ(keyspace_->backlog().size(), 0);
  Pass();
  EXPECT_EQ(Stored().compressed, 100);
  EXPECT_EQ(Stored().dense, 0);
}

TEST_F(PersistentRecompressionTest, ADamagedPageIsNotMadeToLookGood) {
  PutToCompressLater(Ref(1, 1), PageLook::kText, 5);
  arena_->BaseOf(0)[100] ^= std::byte{1};
  CompressAll();
  EXPECT_EQ(Get(Ref(1, 1), kPersistent), GetStatus::kCorrupt);
  EXPECT_EQ(Stored().compressed, 0);
}

// ---- eviction ----

}  // namespace
}  // namespace tmem
