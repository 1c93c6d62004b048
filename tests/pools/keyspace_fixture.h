// What tests of a keyspace share: one on an arena of its own, with a pool that can be ended.
#ifndef TMEM_TESTS_POOLS_KEYSPACE_FIXTURE_H_
#define TMEM_TESTS_POOLS_KEYSPACE_FIXTURE_H_

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <utility>

#include "pools/keyspace.h"
#include "pools/page_maker.h"

namespace tmem {

using enum PageClass;
using OldPage = Keyspace::OldPage;
using Removal = Keyspace::Removal;

inline constexpr uint32_t kCapacity = 8;
inline constexpr uint32_t kPool = 3;
inline constexpr Bytes kRawCharge = RecordCharge(kPageSize);

inline uint32_t RawSlots() { return SlotsPerSegment(SizeClassFor(kPageSize)); }

class KeyspaceTest : public testing::Test {
 protected:
  explicit KeyspaceTest(uint32_t capacity = kCapacity)
      : arena_(std::move(*Arena::Create(capacity))), memory_(*arena_, capacity) {}

  PageRef Ref(uint64_t object, uint32_t index, uint32_t pool = kPool) const {
    return {.ticket = {.word = &word_, .value = 1},
            .pool = pool,
            .object = MakeObjectId(object),
            .index = PageIndex{index}};
  }
  // A put as Store makes it, without the admission.
  PutStatus Put(const PageRef& ref, PageClass page_class, const Page& page, Ledger& ledger,
                CompressMode mode = CompressMode::kOff) {
    const Payload payload = codec_.Compress(page, mode);
    Charge charge = Charge::Take(ledger, RecordCharge(payload.bytes.size()));
    auto slot = keyspace_->heap(page_class).Allocate(payload.bytes.size());
    if (!charge || !slot) {
      return keyspace_->Refuse(ref, page_class, PutStatus::kNoMemory, OldPage::kUntouched);
    }
    Keyspace::Incoming incoming{payload, std::move(*slot), std::move(charge),
                                mode == CompressMode::kAuto};
    Keyspace::Fill(incoming, page_class);
    return keyspace_->Publish(ref, page_class, std::move(incoming), OldPage::kUntouched);
  }
  PutStatus Put(const PageRef& ref, PageClass page_class, uint64_t seed) {
    return Put(ref, page_class, MakePage(PageLook::kRandom, seed), ledger_);
  }
  // The seed's page, or nothing.
  testing::AssertionResult Has(const PageRef& ref, PageClass page_class, uint64_t seed,
                               Removal removal = Removal::kNever) {
    Page page;
    const GetStatus status = keyspace_->Get(ref, page_class, removal, page, codec_);
    if (status != GetStatus::kHit) {
      return testing::AssertionFailure() << "get status " << static_cast<int>(status);
    }
    if (page != MakePage(PageLook::kRandom, seed)) {
      return testing::AssertionFailure() << "another page's contents";
    }
    return testing::AssertionSuccess();
  }
  GetStatus Get(const PageRef& ref, PageClass page_class, Removal removal = Removal::kNever) {
    Page page;
    return keyspace_->Get(ref, page_class, removal, page, codec_);
  }
  PoolCounters Counters(uint32_t pool = kPool) const { return keyspace_->CountersOf(pool); }
  StoredCounters Stored(uint32_t pool = kPool) const { return keyspace_->StoredIn(pool); }
  uint32_t Segments(PageClass page_class) const {
    return memory_.HeldBy(keyspace_->stake())[static_cast<size_t>(page_class)];
  }

  void TearDown() override {
    word_.store(0);
    for (uint32_t pool = 0; pool < ObjectTable::kPools; ++pool) {
      const auto page_class = pool == kPool ? class_ : kEphemeral;
      EXPECT_TRUE(keyspace_->Drain(pool, page_class, PageCount(UINT64_MAX)));
    }
    EXPECT_EQ(ledger_.charged(), Bytes(0));
    EXPECT_EQ(other_ledger_.charged(), Bytes(0));
    EXPECT_EQ(Segments(kEphemeral) + Segments(kPersistent), 0);
    EXPECT_EQ(keyspace_->bytes(), empty_bytes_ + dictionary_bytes_);
  }

  PageClass class_ = kEphemeral;  // of kPool
  PageCodec codec_{PageCodec::Config{}};
  const std::unique_ptr<Arena> arena_;
  Memory memory_;
  Ledger ledger_{kUnlimited};
  Ledger other_ledger_{kUnlimited};
  std::atomic<uint64_t> word_{1};
  NodeBlocks blocks_;
  ObjectRecords records_{*Region::Anonymous(64 << 20)};
  const DictionaryFiles dictionaries_;
  std::shared_ptr<Keyspace> keyspace_ = Keyspace::Create(memory_, blocks_, records_, dictionaries_,
                                                         {.id = 1, .hash_key = 1}, {.weight = 100});
  const size_t empty_bytes_ = keyspace_->bytes();
  size_t dictionary_bytes_ = 0;  // they stay
};

}  // namespace tmem

#endif  // TMEM_TESTS_POOLS_KEYSPACE_FIXTURE_H_
