// Everything at once, for ThreadSanitizer and AddressSanitizer: workers that know what their pages
// must be, guests that come and go, an administrator who changes everything, readers of figures.
//
// Ends by counts of operations; TMEM_CONCURRENCY_OPS sets how many each worker makes.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "pools/store_fixture.h"

namespace tmem {
namespace {

using enum PageClass;

constexpr uint64_t kDefaultOps = 15'000;
constexpr uint64_t kMaxSegments = 40;
constexpr uint64_t kWorkersAGuest = 2;
constexpr uint16_t kResidents = 2;
constexpr GuestId kVisitorId{9};
constexpr uint64_t kSharedUuid = 1;
constexpr uint64_t kCommonObject = 1'000'000;  // of the shared pool, put by everybody
constexpr uint32_t kCommonPages = 300;

// A page that tells its own seed, so that anybody can check it.
Page SignedPage(uint64_t seed) {
  Page page = MakePage(seed % 4 == 0 ? PageLook::kText : PageLook::kRandom, seed);
  std::memcpy(page.data(), &seed, sizeof(seed));
  return page;
}

uint64_t SeedOf(const Page& page) {
  uint64_t seed;
  std::memcpy(&seed, page.data(), sizeof(seed));
  return seed;
}

bool IsWhole(const Page& page) { return page == SignedPage(SeedOf(page)); }

GuestSettings SharingSettings() {
  GuestSettings settings;
  settings.shared_auth.insert(UuidOf(kSharedUuid));
  return settings;
}

class StoreConcurrencyTest : public testing::Test {
 protected:
  struct Pools {
    PoolId swap;
    PoolId cache;
    PoolId shared;
  };

  Pools OpenPools(Guest& guest) {
    return {*store_->NewPool(guest, {.page_class = kPersistent}), *store_->NewPool(guest, {}),
            *store_->NewPool(guest, {.shared = true, .uuid = UuidOf(kSharedUuid)})};
  }
  void PutAndCheckCommonPage(Guest& guest, PoolId shared, uint64_t random, PageCodec& codec) {
    const Handle handle = {shared, MakeObjectId(kCommonObject + random % 4),
                           PageIndex{static_cast<uint32_t>(random / 4 % kCommonPages)}};
    if (random % 3 == 0) {
      store_->Put(guest, handle, SignedPage(random), codec);
      return;
    }
    Page page;
    const GetStatus status = store_->Get(guest, handle, page, codec);
    ASSERT_NE(status, GetStatus::kCorrupt);
    if (status == GetStatus::kHit) {
      ASSERT_TRUE(IsWhole(page));
    }
  }

  void Work(uint64_t worker, uint64_t operations);
  void Administrate();
  void ComeAndGo();
  void Visit();
  void ReadFigures();
  void Recompress();

  const std::unique_ptr<Store> store_ = std::move(
      *Store::Create({.capacity = Segments(kMaxSegments), .max_capacity = Segments(kMaxSegments)}));
  std::array<std::shared_ptr<Guest>, kResidents> residents_;
  std::array<Pools, kResidents> pools_;
  std::atomic<bool> done_{false};

  std::mutex visitor_mutex_;
  std::shared_ptr<Guest> visitor_;
};

// One worker's objects, which nobody else puts: what is stored there is known exactly, but for
// ephemeral pages that were evicted.
class OwnPages {
 public:
  OwnPages(Store& store, Guest& guest, PoolId pool, bool persistent, bool exclusive, uint64_t first)
      : store_(store),
        guest_(guest),
        pool_(pool),
        persistent_(persistent),
        exclusive_(exclusive),
        first_object_(first) {}

  void Step(uint64_t random, PageCodec& codec) {
    const uint64_t object = random / 16 % kObjects;
    const auto index = static_cast<uint32_t>(random / 1024 % kIndexes * 37);
    const Handle handle{pool_, MakeObjectId(first_object_ + object), PageIndex{index}};
    const uint64_t key = object << 32 | index;
    if (random / 128 % 8 == 0)
      store_.Prefetch(guest_, std::array{handle, OtherPage(handle)},
                      random % 2 == 0 ? Ahead::kGets : Ahead::kPuts);
    if (random % 16 < 8) {
      Put(handle, key, random, codec);
    } else if (random % 16 < 14) {
      Get(handle, key, codec);
    } else if (random % 16 == 14) {
      if (random / 4096 % 2 == 0) {
        store_.FlushPage(guest_, handle);
      } else {
        std::array<FlushStatus, 2> statuses;
        store_.FlushPages(guest_, std::array{handle, handle}, statuses);
      }
      seeds_.erase(key);
    } else if (random / 65'536 % 16 == 0) {
      while (store_.FlushObject(guest_, pool_, handle.object, PageCount(7)) == FlushStatus::kMore) {
      }
      std::erase_if(seeds_, [object](const auto& one) { return one.first >> 32 == object; });
    }
  }

  // All that should be there, is.
  void CheckAll(PageCodec& codec) {
    const auto seeds = seeds_;
    for (const auto& [key, seed] : seeds) {
      Get({pool_, MakeObjectId(first_object_ + (key >> 32)), PageIndex{static_cast<uint32_t>(key)}},
          key, codec);
    }
  }

 private:
  // Of one of the other worker's objects.
  static Handle OtherPage(Handle handle) {
    handle.object.words[0] ^= 1000;
    return handle;
  }

  static constexpr uint64_t kObjects = 16;
  static constexpr uint64_t kIndexes = 64;

  void Put(const Handle& handle, uint64_t key, uint64_t seed, PageCodec& codec) {
    switch (store_.Put(guest_, handle, SignedPage(seed), codec)) {
      case PutStatus::kStored:
        seeds_[key] = seed;
        break;
      case PutStatus::kNoMemory:
      case PutStatus::kFrozen:
        seeds_.erase(key);
        break;
      case PutStatus::kNoPool:
        FAIL() << "the pool is gone";
    }
  }
  void Get(const Handle& handle, uint64_t key, PageCodec& codec) {
    Page page;
    const GetStatus status = store_.Get(guest_, handle, page, codec);
    const auto known = seeds_.find(key);
    ASSERT_NE(status, GetStatus::kNoPool);
    ASSERT_NE(status, GetStatus::kCorrupt);
    if (status == GetStatus::kHit) {
      ASSERT_NE(known, seeds_.end()) << "a page that should not be there";
      ASSERT_EQ(SeedOf(page), known->second);
      ASSERT_TRUE(IsWhole(page));
      if (exclusive_) seeds_.erase(known);
    } else if (known != seeds_.end()) {
      ASSERT_FALSE(persistent_) << "a persistent page vanished";
      seeds_.erase(known);
    }
  }

  Store& store_;
  Guest& guest_;
  const PoolId pool_;
  const bool persistent_;
  const bool exclusive_;
  const uint64_t first_object_;
  std::unordered_map<uint64_t, uint64_t> seeds_;
};

void StoreConcurrencyTest::Work(uint64_t worker, uint64_t operations) {
  Guest& guest = *residents_[worker % kResidents];
  const Pools pools = pools_[worker % kResidents];
  PageCodec codec{PageCodec::Config{}};
  const uint64_t first_object = worker * 1000;
  OwnPages swap(*store_, guest, pools.swap, true, false, first_object);
  OwnPages cache(*store_, guest, pools.cache, false, true, first_object);
  OwnPages shared(*store_, guest, pools.shared, false, false, first_object);
  for (uint64_t i = 0; i < operations && !HasFatalFailure(); ++i) {
    const uint64_t random = Mix(worker << 48 | i);
    OwnPages* const choices[] = {&swap, &cache, &shared};
    if (const uint64_t choice = random >> 60; choice < 15) {
      choices[choice % 3]->Step(random, codec);
    } else {
      PutAndCheckCommonPage(guest, pools.shared, random, codec);
    }
  }
  swap.CheckAll(codec);
  cache.CheckAll(codec);
  shared.CheckAll(codec);
}

void StoreConcurrencyTest::Administrate() {
  for (uint64_t round = 0; !done_.load(); ++round) {
    const uint64_t random = Mix(round);
    const GuestId id{static_cast<uint16_t>(random % kResidents)};
    auto settings = SharingSettings();
    settings.weight = static_cast<uint32_t>(random / 2 % 500 + 1);
    settings.frozen = random / 1024 % 16 == 0;
    if (random / 8192 % 4 == 0) settings.cap = kRawCharge * (random / 32'768 % 4096);
    settings.reserve = std::min(settings.cap, Segments(random >> 50 & 3));
    for (auto& mode : settings.compress) mode = static_cast<CompressMode>(random % 4);
    EXPECT_TRUE(store_->Configure(id, settings));
    if (round % 8 == 0) store_->SetCapacity(Segments(8 + (random >> 40 & 31)));
    if (round % 16 == 0) {
      EXPECT_TRUE(store_->FlushEphemeral(id));
    }
    std::this_thread::yield();
  }
  for (uint16_t i = 0; i < kResidents; ++i) {
    EXPECT_TRUE(store_->Configure(GuestId{i}, SharingSettings()));
  }
  store_->SetCapacity(Segments(kMaxSegments));
}

// A guest that is added, shares a pool, and is removed; its pools end in every way.
void StoreConcurrencyTest::ComeAndGo() {
  PageCodec codec{PageCodec::Config{}};
  for (uint64_t round = 0; !done_.load() && !HasFatalFailure(); ++round) {
    const auto guest = *store_->AddGuest(kVisitorId, SharingSettings());
    const Pools pools = OpenPools(*guest);
    {
      const std::lock_guard lock(visitor_mutex_);
      visitor_ = guest;
    }
    OwnPages swap(*store_, *guest, pools.swap, true, false, 0);
    for (uint64_t i = 0; i < 200 && !HasFatalFailure(); ++i) {
      swap.Step(Mix(round << 32 | i), codec);
      PutAndCheckCommonPage(*guest, pools.shared, Mix(~i ^ round), codec);
    }
    for (const PoolId pool : {pools.swap, pools.shared}) {
      if (round % 3 == 0) break;  // the pools end with the guest
      while (store_->DestroyPool(*guest, pool, PageCount(9)) == FlushStatus::kMore) {
        if (round % 3 == 1) break;  // the guest dies amid it
      }
    }
    store_->RemoveGuest(kVisitorId);
    EXPECT_EQ(store_->NewPool(*guest, {}).error(), NewPoolError::kNoSpace);
  }
}

// Uses the guest that comes and goes, whatever its state: its pools are there or are not.
void StoreConcurrencyTest::Visit() {
  PageCodec codec{PageCodec::Config{}};
  for (uint64_t round = 0; !done_.load() && !HasFatalFailure(); ++round) {
    std::shared_ptr<Guest> guest;
    {
      const std::lock_guard lock(visitor_mutex_);
      guest = visitor_;
    }
    if (!guest) continue;
    const uint64_t random = Mix(~round);
    const Handle handle{PoolId{static_cast<uint32_t>(random % 3)},
                        MakeObjectId(500'000 + random % 5),
                        PageIndex{static_cast<uint32_t>(random / 8 % 50)}};
    store_->Put(*guest, handle, SignedPage(random), codec);
    Page page;
    if (store_->Get(*guest, handle, page, codec) == GetStatus::kHit) {
      ASSERT_TRUE(IsWhole(page));
    }
    if (round % 64 == 0) {
      (void)store_->NewPool(*guest, {.page_class = kPersistent});
      store_->DestroyPool(*guest, PoolId{3 + static_cast<uint32_t>(random % 13)}, PageCount(5));
      (void)store_->Configure(kVisitorId, SharingSettings());
    }
  }
}

void StoreConcurrencyTest::ReadFigures() {
  while (!done_.load()) {
    const StoreStats stats = store_->Stats();
    EXPECT_LE(stats.segments[0] + stats.segments[1], Segments(kMaxSegments));
    EXPECT_LE(stats.shared_pools, kMaxSharedPools);
    EXPECT_EQ(stats.counters.corrupt, 0);
    EXPECT_TRUE(store_->Scrub(PageCount(64)).empty());
    for (const GuestId id : store_->Guests()) {
      if (const auto guest = store_->StatsOf(id)) {
        EXPECT_LE(guest->pools.size(), kMaxPoolsPerGuest);
      }
    }
    std::this_thread::yield();
  }
}

// Passes over all pages come as fast as they can.
void StoreConcurrencyTest::Recompress() {
  PageCodec codec{PageCodec::Config{}};
  for (TimePoint now{}; !done_.load(); now += std::chrono::seconds(30)) {
    store_->Recompress(now, codec);
    std::this_thread::yield();
  }
}

TEST_F(StoreConcurrencyTest, EverythingAtOnce) {
  const char* const text = std::getenv("TMEM_CONCURRENCY_OPS");
  const uint64_t operations = text != nullptr ? std::strtoull(text, nullptr, 10) : kDefaultOps;
  const StoreStats empty = store_->Stats();
  for (uint16_t i = 0; i < kResidents; ++i) {
    residents_[i] = *store_->AddGuest(GuestId{i}, SharingSettings());
    pools_[i] = OpenPools(*residents_[i]);
  }
  {
    std::vector<std::jthread> others;
    others.emplace_back([this] { Administrate(); });
    others.emplace_back([this] { ComeAndGo(); });
    others.emplace_back([this] { Visit(); });
    others.emplace_back([this] { ReadFigures(); });
    others.emplace_back([this] { Recompress(); });
    std::vector<std::jthread> workers;
    for (uint64_t worker = 0; worker < kResidents * kWorkersAGuest; ++worker) {
      workers.emplace_back([this, worker, operations] { Work(worker, operations); });
    }
    workers.clear();
    done_.store(true);
  }

  EXPECT_EQ(visitor_->ledger().charged(), Bytes(0));
  visitor_.reset();
  for (uint16_t i = 0; i < kResidents; ++i) {
    store_->RemoveGuest(GuestId{i});
    EXPECT_EQ(residents_[i]->ledger().charged(), Bytes(0));
    residents_[i].reset();
  }
  const StoreStats stats = store_->Stats();
  EXPECT_EQ(stats.guests, 0);
  EXPECT_EQ(stats.shared_pools, 0);
  EXPECT_EQ(stats.segments[0] + stats.segments[1], Bytes(0));
  EXPECT_EQ(stats.stored[0].pages + stats.stored[1].pages, 0);
  EXPECT_EQ(stats.stored[0].charged_bytes + stats.stored[1].charged_bytes, 0);
  EXPECT_EQ(stats.index_bytes, empty.index_bytes);
  EXPECT_GE(stats.counters.puts, operations);
}

}  // namespace
}  // namespace tmem
