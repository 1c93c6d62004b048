// A store, guests by number, and short names for what tests do with them.
#ifndef TMEM_TESTS_POOLS_STORE_FIXTURE_H_
#define TMEM_TESTS_POOLS_STORE_FIXTURE_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "pools/guest.h"
#include "pools/page_maker.h"
#include "pools/segment.h"
#include "pools/store.h"

namespace tmem {

inline constexpr PageCount kWhole{UINT64_MAX};
inline constexpr Bytes kRawCharge = RecordCharge(kPageSize);

constexpr Bytes Segments(uint64_t count) { return Bytes(count * kSegmentSize); }
inline uint64_t RawPages(uint64_t segments) {
  return segments * SlotsPerSegment(SizeClassFor(kPageSize));
}

inline Uuid UuidOf(uint64_t n) { return Uuid{{n, ~n}}; }

// Nothing is compressed, so that charges can be told in advance.
inline GuestSettings RawSettings() {
  GuestSettings settings;
  for (auto& mode : settings.compress) mode = CompressMode::kOff;
  return settings;
}

class StoreTest : public testing::Test {
 protected:
  using GuestPointer = std::shared_ptr<Guest>;

  explicit StoreTest(Store::Config config = {.capacity = MiB(64)})
      : store_(std::move(*Store::Create(config))) {}

  GuestPointer AddGuest(uint16_t id, const GuestSettings& settings = RawSettings()) {
    auto guest = store_->AddGuest(GuestId{id}, settings);
    EXPECT_TRUE(guest);
    return *guest;
  }
  PoolId NewPool(const GuestPointer& guest, PageClass page_class) {
    return *store_->NewPool(*guest, {.page_class = page_class});
  }
  PoolId NewSharedPool(const GuestPointer& guest, uint64_t uuid) {
    return *store_->NewPool(*guest, {.shared = true, .uuid = UuidOf(uuid)});
  }

  static Handle HandleOf(PoolId pool, uint64_t object, uint32_t index) {
    return {.pool = pool, .object = MakeObjectId(object), .index = PageIndex{index}};
  }
  PutStatus Put(const GuestPointer& guest, PoolId pool, uint64_t object, uint32_t index,
                uint64_t seed = 0, PageLook look = PageLook::kRandom) {
    const Page page = MakePage(look, seed);
    return store_->Put(*guest, HandleOf(pool, object, index), page, codec_);
  }
  GetStatus Get(const GuestPointer& guest, PoolId pool, uint64_t object, uint32_t index) {
    Page page;
    return store_->Get(*guest, HandleOf(pool, object, index), page, codec_);
  }
  testing::AssertionResult Has(const GuestPointer& guest, PoolId pool, uint64_t object,
                               uint32_t index, uint64_t seed = 0,
                               PageLook look = PageLook::kRandom) {
    Page page;
    const GetStatus status = store_->Get(*guest, HandleOf(pool, object, index), page, codec_);
    if (status != GetStatus::kHit) {
      return testing::AssertionFailure() << "get status " << static_cast<int>(status);
    }
    if (page != MakePage(look, seed)) {
      return testing::AssertionFailure() << "another page's contents";
    }
    return testing::AssertionSuccess();
  }
  FlushStatus Flush(const GuestPointer& guest, PoolId pool, uint64_t object, uint32_t index) {
    return store_->FlushPage(*guest, HandleOf(pool, object, index));
  }
  FlushStatus FlushObject(const GuestPointer& guest, PoolId pool, uint64_t object,
                          PageCount budget = kWhole) {
    return store_->FlushObject(*guest, pool, MakeObjectId(object), budget);
  }
  // How many raw pages are stored, one after the other, before one is refused.
  uint64_t Fill(const GuestPointer& guest, PoolId pool, uint64_t object, uint64_t most) {
    uint64_t stored = 0;
    while (stored < most &&
           Put(guest, pool, object, static_cast<uint32_t>(stored), stored) == PutStatus::kStored) {
      ++stored;
    }
    return stored;
  }

  GuestStats StatsOf(uint16_t id) { return *store_->StatsOf(GuestId{id}); }
  PoolStats PoolStatsOf(uint16_t id, PoolId pool) {
    for (const PoolStats& stats : StatsOf(id).pools) {
      if (stats.id == pool) return stats;
    }
    ADD_FAILURE() << "no pool " << pool.value;
    return {};
  }

  PageCodec codec_{PageCodec::Config{}};
  std::unique_ptr<Store> store_;
};

}  // namespace tmem

#endif  // TMEM_TESTS_POOLS_STORE_FIXTURE_H_
