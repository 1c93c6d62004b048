// Stores that are closed and opened again on the same folder.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "pools/records.h"
#include "pools/store_files.h"
#include "pools/store_fixture.h"
#include "pools/tmpfs_folder.h"

namespace tmem {
namespace {

using enum PageClass;

class StoreRecoveryTest : public StoreTest {
 protected:
  StoreRecoveryTest() { Reopen(); }

  Store::Config ConfigOf(Bytes capacity) const {
    return {.path = folder_.store(),
            .recovery_threads = 2,
            .capacity = capacity,
            .shared_auth_default = true};
  }
  // As a daemon that stops and starts. Guest handles must be gone.
  void Reopen(Bytes capacity = MiB(64)) {
    store_.reset();
    auto store = Store::Create(ConfigOf(capacity));
    ASSERT_TRUE(store) << store.error().message;
    store_ = *std::move(store);
  }
  GuestPointer TakeUp(uint16_t id, uint64_t uuid = 0,
                      const GuestSettings& settings = RawSettings()) {
    for (;;) {
      auto guest =
          store_->AddGuest({.id = GuestId{id}, .uuid = UuidOf(uuid), .name = "guest"}, settings);
      if (guest) return *guest;
      if (guest.error().code != ErrorCode::kUnavailable) {
        ADD_FAILURE() << guest.error().message;
        return nullptr;
      }
      std::this_thread::yield();
    }
  }
  Error ErrorOfOpening() const {
    const auto store = Store::Create(ConfigOf(MiB(64)));
    return store ? Error{ErrorCode::kSystem, "it opened"} : store.error();
  }
  // Everything is there again after everybody left: nothing leaked.
  void ExpectNothingLeft() {
    for (const GuestId id : store_->Guests()) store_->RemoveGuest(id);
    const StoreStats stats = store_->Stats();
    for (const Bytes bytes : stats.segments) EXPECT_EQ(bytes, Bytes(0));
    for (const StoredCounters& stored : stats.stored) EXPECT_EQ(stored.pages, 0u);
  }

  const TmpfsFolder folder_;
};

TEST_F(StoreRecoveryTest, KeepsPagesPoolsAndItsId) {
  const Uuid id = store_->id();
  auto guest = TakeUp(3, 33);
  const PoolId swap = NewPool(guest, kPersistent);
  const PoolId cache = NewPool(guest, kEphemeral);
  for (uint32_t i = 0; i < 600; ++i) {
    ASSERT_EQ(Put(guest, swap, i % 7, i, i, static_cast<PageLook>(i % kPageLooks)),
              PutStatus::kStored);
    ASSERT_EQ(Put(guest, cache, i % 5, i, i + 1000), PutStatus::kStored);
  }
  const GuestStats before = StatsOf(3);
  guest.reset();
  Reopen();

  EXPECT_EQ(store_->id(), id);
  ASSERT_EQ(store_->Survivors().size(), 1u);
  EXPECT_EQ(store_->Survivors()[0].id, GuestId{3});
  EXPECT_EQ(store_->Survivors()[0].uuid, UuidOf(33));
  EXPECT_EQ(store_->Survivors()[0].name, "guest");
  guest = TakeUp(3, 33);
  EXPECT_TRUE(store_->Survivors().empty());
  EXPECT_TRUE(store_->recovery_progress().done());
  EXPECT_EQ(store_->recovery_progress().pages, 1200u);
  const GuestStats after = StatsOf(3);
  EXPECT_EQ(after.charged, before.charged);
  for (int i = 0; i < kPageClasses; ++i) {
    EXPECT_EQ(after.stored[i].pages, before.stored[i].pages);
    EXPECT_EQ(after.stored[i].objects, before.stored[i].objects);
    EXPECT_EQ(after.stored[i].charged_bytes, before.stored[i].charged_bytes);
    EXPECT_EQ(after.segments[i], before.segments[i]);
  }
  for (uint32_t i = 0; i < 600; ++i) {
    ASSERT_TRUE(Has(guest, swap, i % 7, i, i, static_cast<PageLook>(i % kPageLooks)));
    ASSERT_TRUE(Has(guest, cache, i % 5, i, i + 1000));
    ASSERT_EQ(Get(guest, cache, i % 5, i), i == 599 ? GetStatus::kEmpty : GetStatus::kMiss)
        << "an exclusive get took it";
  }
  guest.reset();
  ExpectNothingLeft();
}

TEST_F(StoreRecoveryTest, WhatWasFlushedReplacedOrDestroyedStaysGone) {
  auto guest = TakeUp(1);
  const PoolId pool = NewPool(guest, kPersistent);
  const PoolId other = NewPool(guest, kPersistent);
  for (uint32_t i = 0; i < 30; ++i) Put(guest, pool, i / 10, i, i);
  for (uint32_t i = 0; i < 30; ++i) Put(guest, other, 1, i, i);
  for (uint32_t i = 0; i < 5; ++i) Put(guest, pool, 0, i, i + 100);
  Flush(guest, pool, 0, 7);
  FlushObject(guest, pool, 2);
  store_->DestroyPool(*guest, other, kWhole);
  guest.reset();
  Reopen();

  guest = TakeUp(1);
  for (uint32_t i = 0; i < 20; ++i) {
    if (i == 7) {
      EXPECT_EQ(Get(guest, pool, 0, 7), GetStatus::kMiss);
    } else {
      EXPECT_TRUE(Has(guest, pool, i / 10, i, i < 5 ? i + 100 : i)) << i;
    }
  }
  for (uint32_t i = 20; i < 30; ++i) EXPECT_EQ(Get(guest, pool, 2, i), GetStatus::kMiss);
  EXPECT_EQ(Get(guest, other, 1, 1), GetStatus::kNoPool);
  guest.reset();
  ExpectNothingLeft();
}

TEST_F(StoreRecoveryTest, AGuestThatIsAnotherGetsNothing) {
  auto guest = TakeUp(5, 1);
  const PoolId pool = NewPool(guest, kPersistent);
  for (uint32_t i = 0; i < 300; ++i) Put(guest, pool, 1, i, i);
  guest.reset();
  Reopen();
  guest = TakeUp(5, 2);
  EXPECT_EQ(Get(guest, pool, 1, 1), GetStatus::kNoPool);
  EXPECT_EQ(store_->Stats().segments[1], Bytes(0));
  EXPECT_TRUE(store_->Survivors().empty());
}

TEST_F(StoreRecoveryTest, ASurvivorThatIsRemovedGivesEverythingBack) {
  auto guest = TakeUp(5, 1);
  auto other = TakeUp(6, 2);
  const PoolId pool = NewPool(guest, kPersistent);
  const PoolId kept = NewPool(other, kPersistent);
  for (uint32_t i = 0; i < 3000; ++i) Put(guest, pool, i, i, i);
  Put(other, kept, 1, 1, 77);
  guest.reset();
  other.reset();
  Reopen();
  store_->RemoveGuest(GuestId{5});
  other = TakeUp(6, 2);
  EXPECT_TRUE(Has(other, kept, 1, 1, 77));
  EXPECT_EQ(store_->Stats().segments[1], Segments(1));
  EXPECT_TRUE(store_->recovery_progress().done());
  guest = TakeUp(5, 1);
  EXPECT_EQ(Get(guest, pool, 1, 1), GetStatus::kNoPool);
  other.reset();
  guest.reset();
  Reopen();  // nor does it come back later
  EXPECT_EQ(Get(TakeUp(5, 1), pool, 1, 1), GetStatus::kNoPool);
}

TEST_F(StoreRecoveryTest, SharedPoolsKeepTheirMembersAndLoseTheirPages) {
  auto alice = TakeUp(1, 1);
  auto bob = TakeUp(2, 2);
  const PoolId a = NewSharedPool(alice, 9);
  const PoolId b = NewSharedPool(bob, 9);
  for (uint32_t i = 0; i < 400; ++i) Put(alice, a, 1, i, i);
  alice.reset();
  bob.reset();
  Reopen();
  EXPECT_EQ(store_->Stats().segments[0], Bytes(0));
  alice = TakeUp(1, 1);
  bob = TakeUp(2, 2);
  EXPECT_EQ(store_->Stats().shared_pools, 1u);
  EXPECT_EQ(Get(alice, a, 1, 1), GetStatus::kEmpty);
  EXPECT_EQ(Put(alice, a, 1, 1, 5), PutStatus::kStored);
  EXPECT_TRUE(Has(bob, b, 1, 1, 5)) << "both are in one pool still";
  EXPECT_EQ(PoolStatsOf(2, b).uuid, UuidOf(9));
  EXPECT_EQ(PoolStatsOf(2, b).sharers, 2u);
}

TEST_F(StoreRecoveryTest, ACapacityBelowWhatSurvivedRefusesAndLosesNothing) {
  auto guest = TakeUp(1);
  const PoolId pool = NewPool(guest, kPersistent);
  const uint64_t stored = Fill(guest, pool, 1, RawPages(20));
  guest.reset();
  Reopen(MiB(4));
  guest = TakeUp(1);
  EXPECT_EQ(Put(guest, pool, 2, 0), PutStatus::kNoMemory);
  for (uint32_t i = 0; i < stored; ++i) ASSERT_TRUE(Has(guest, pool, 1, i, i));
  FlushObject(guest, pool, 1);
  EXPECT_EQ(Put(guest, pool, 2, 0), PutStatus::kStored);
}

TEST_F(StoreRecoveryTest, ACapBelowWhatSurvivedRefusesAndLosesNothing) {
  auto guest = TakeUp(1);
  const PoolId pool = NewPool(guest, kPersistent);
  for (uint32_t i = 0; i < 100; ++i) Put(guest, pool, 1, i, i);
  guest.reset();
  Reopen();
  GuestSettings settings = RawSettings();
  settings.cap = kRawCharge * 50;
  guest = TakeUp(1, 0, settings);
  EXPECT_EQ(Put(guest, pool, 2, 0), PutStatus::kNoMemory);
  for (uint32_t i = 0; i < 100; ++i) ASSERT_TRUE(Has(guest, pool, 1, i, i));
}

TEST_F(StoreRecoveryTest, EvictsTheOldestFirstStill) {
  auto guest = TakeUp(1);
  const PoolId pool = NewPool(guest, kEphemeral);
  const uint64_t stored = Fill(guest, pool, 1, RawPages(8));
  guest.reset();
  Reopen(MiB(8));
  guest = TakeUp(1);
  for (uint32_t i = 0; i < RawPages(4); ++i) ASSERT_EQ(Put(guest, pool, 2, i), PutStatus::kStored);
  EXPECT_EQ(Get(guest, pool, 1, 0), GetStatus::kMiss);
  EXPECT_EQ(Get(guest, pool, 1, static_cast<uint32_t>(stored) - 1), GetStatus::kHit);
}

// ---- requests that are executed again ----

TEST_F(StoreRecoveryTest, APoolIsMadeOnceForOneRequest) {
  auto guest = TakeUp(1);
  const RingPosition at{.queue = 2, .index = 77};
  const PoolId pool = *store_->NewPool(*guest, {.page_class = kPersistent}, at);
  Put(guest, pool, 1, 1, 5);
  guest.reset();
  Reopen();
  guest = TakeUp(1);
  RingPosition again = at;
  again.again = true;
  EXPECT_EQ(*store_->NewPool(*guest, {.page_class = kPersistent}, again), pool);
  EXPECT_TRUE(Has(guest, pool, 1, 1, 5));
  // Another place in the ring, or the same one much later, is another request.
  EXPECT_NE(*store_->NewPool(*guest, {.page_class = kPersistent}, at), pool);
  EXPECT_NE(*store_->NewPool(*guest, {}, RingPosition{.queue = 3, .index = 77, .again = true}),
            pool);
}

TEST_F(StoreRecoveryTest, APoolIsDestroyedOnceForOneRequest) {
  auto guest = TakeUp(1);
  const PoolId pool = NewPool(guest, kPersistent);
  for (uint32_t i = 0; i < 100; ++i) Put(guest, pool, 1, i);
  const RingPosition at{.queue = 0, .index = 4};
  ASSERT_EQ(store_->DestroyPool(*guest, pool, PageCount(10), at), FlushStatus::kMore);
  guest.reset();
  Reopen();
  guest = TakeUp(1);
  RingPosition again = at;
  again.again = true;
  EXPECT_EQ(Get(guest, pool, 1, 99), GetStatus::kNoPool);
  ASSERT_EQ(store_->DestroyPool(*guest, pool, kWhole, again), FlushStatus::kDone);
  guest.reset();
  Reopen();
  guest = TakeUp(1);
  EXPECT_EQ(store_->DestroyPool(*guest, pool, kWhole, again), FlushStatus::kDone);
  EXPECT_EQ(store_->DestroyPool(*guest, pool, kWhole, at), FlushStatus::kNoPool);
  // The id serves another pool by now: that one is not meant.
  EXPECT_EQ(NewPool(guest, kPersistent), pool);
  EXPECT_EQ(store_->DestroyPool(*guest, pool, kWhole, again), FlushStatus::kDone);
  EXPECT_EQ(Put(guest, pool, 1, 1), PutStatus::kStored);
}

TEST_F(StoreRecoveryTest, NewRingsHaveNoPast) {
  auto guest = TakeUp(1);
  const RingPosition at{.queue = 0, .index = 0};
  const PoolId pool = *store_->NewPool(*guest, {}, at);
  Store::ForgetRequests(*guest);
  EXPECT_NE(*store_->NewPool(*guest, {}, RingPosition{.again = true}), pool);
}

// ---- folders that are no good ----

void Overwrite(const std::string& file, size_t at, const std::string& bytes) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(static_cast<std::streamoff>(at));
  stream << bytes;
}

std::string ContentsOf(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

TEST_F(StoreRecoveryTest, PagesInEveryTierAreFoundAgain) {
  constexpr uint32_t kPages = 2 * Dictionary::kMaxSamples;
  GuestSettings settings;
  for (auto& mode : settings.compress) mode = CompressMode::kAuto;
  settings.dense_after = 1;
  settings.compress_cpu = 100;
  auto guest = TakeUp(3, 33, settings);
  const PoolId pool = NewPool(guest, kPersistent);
  const auto look_of = [](uint32_t i) { return i % 8 == 0 ? PageLook::kRandom : PageLook::kText; };
  const auto put = [&](uint32_t first, uint32_t end) {
    for (uint32_t i = first; i < end; ++i) {
      ASSERT_EQ(Put(guest, pool, i % 5, i, i, look_of(i)), PutStatus::kStored);
    }
  };
  put(0, kPages);
  TimePoint now{};
  while (StatsOf(3).stored[1].dense == 0) {
    now = std::max(store_->Recompress(now, codec_), now + std::chrono::milliseconds(10));
  }
  put(kPages, kPages + 100);
  const GuestStats before = StatsOf(3);
  ASSERT_GT(before.stored[1].compressed, before.stored[1].dense);
  guest.reset();
  Reopen();
  guest = TakeUp(3, 33, settings);
  const GuestStats after = StatsOf(3);
  EXPECT_EQ(after.charged, before.charged);
  EXPECT_EQ(after.stored[1].dense, before.stored[1].dense);
  EXPECT_EQ(after.stored[1].dense_bytes, before.stored[1].dense_bytes);
  for (uint32_t i = 0; i < kPages + 100; ++i) {
    ASSERT_TRUE(Has(guest, pool, i % 5, i, i, look_of(i))) << i;
  }
  guest.reset();
  ExpectNothingLeft();
  EXPECT_TRUE(std::filesystem::is_empty(folder_.FileOf("dictionaries")));
}

// What a dictionary made cannot be read without it, and never with another one: not even when the
// guest's next dictionary takes the lost one's number.
TEST_F(StoreRecoveryTest, PagesOfALostDictionaryAreErrorsAndNeverWrong) {
  constexpr uint32_t kPages = Dictionary::kMaxSamples;
  GuestSettings settings;
  for (auto& mode : settings.compress) mode = CompressMode::kAuto;
  settings.dense_after = 1;
  settings.compress_cpu = 100;
  auto guest = TakeUp(3, 33, settings);
  const PoolId pool = NewPool(guest, kPersistent);
  const auto make_dense = [&](uint64_t pages) {
    const uint64_t before = StatsOf(3).recompressed.made_dense;
    for (TimePoint now{}; StatsOf(3).recompressed.made_dense < before + pages;) {
      now = std::max(store_->Recompress(now, codec_), now + std::chrono::milliseconds(10));
    }
  };
  for (uint32_t i = 0; i < kPages; ++i) {
    ASSERT_EQ(Put(guest, pool, 1, i, i, PageLook::kText), PutStatus::kStored);
  }
  make_dense(1);
  const uint64_t dense = StatsOf(3).stored[1].dense;
  guest.reset();
  store_.reset();
  std::filesystem::remove_all(folder_.FileOf("dictionaries"));

  Reopen();
  guest = TakeUp(3, 33, settings);
  for (uint32_t i = 0; i < kPages; ++i) {  // other pages, so another dictionary
    ASSERT_EQ(Put(guest, pool, 2, i, i + kPages, PageLook::kText), PutStatus::kStored);
  }
  make_dense(1);
  uint64_t corrupt = 0;
  for (uint32_t i = 0; i < kPages; ++i) {
    if (Get(guest, pool, 1, i) == GetStatus::kCorrupt) {
      ++corrupt;
    } else {
      ASSERT_TRUE(Has(guest, pool, 1, i, i, PageLook::kText));
    }
    ASSERT_TRUE(Has(guest, pool, 2, i, i + kPages, PageLook::kText));
  }
  EXPECT_EQ(corrupt, dense);
  EXPECT_EQ(store_->Scrub(PageCount(1'000'000)).size(), dense);
}

// Format 1 had no dictionaries and is otherwise the same.
TEST_F(StoreRecoveryTest, TheVersionBeforeIsReadAndBecomesThisOne) {
  auto guest = TakeUp(3, 33);
  const PoolId pool = NewPool(guest, kPersistent);
  for (uint32_t i = 0; i < 50; ++i) Put(guest, pool, 1, i, i);
  guest.reset();
  store_.reset();
  std::filesystem::remove(folder_.FileOf("dictionaries"));
  std::array<char, 40> superblock{};
  std::fstream file(folder_.FileOf("superblock"), std::ios::binary | std::ios::in | std::ios::out);
  file.read(superblock.data(), superblock.size());
  ASSERT_EQ(superblock[8], static_cast<char>(kStoreVersion));
  superblock[8] = 1;
  const uint64_t checksum = XXH3_64bits(superblock.data(), 32);
  std::memcpy(&superblock[32], &checksum, sizeof checksum);
  file.seekp(0);
  file.write(superblock.data(), superblock.size());
  file.close();

  Reopen();
  guest = TakeUp(3, 33);
  for (uint32_t i = 0; i < 50; ++i) EXPECT_TRUE(Has(guest, pool, 1, i, i));
  guest.reset();
  std::ifstream(folder_.FileOf("superblock"), std::ios::binary).read(superblock.data(), 40);
  EXPECT_EQ(superblock[8], static_cast<char>(kStoreVersion));
}

TEST_F(StoreRecoveryTest, ANewerVersionIsRefusedAndLeftAlone) {
  auto guest = TakeUp(1);
  Put(guest, NewPool(guest, kPersistent), 1, 1);
  guest.reset();
  store_.reset();
  Overwrite(folder_.FileOf("superblock"), 8, std::string("\x03\0\0\0", 4));
  const std::string superblock = ContentsOf(folder_.FileOf("superblock"));
  const std::string segments = ContentsOf(folder_.FileOf("segments"));
  const Error error = ErrorOfOpening();
  EXPECT_EQ(error.code, ErrorCode::kUnsupported);
  EXPECT_NE(error.message.find("has format 3, this tmemd reads format 2"), std::string::npos)
      << error.message;
  EXPECT_EQ(ContentsOf(folder_.FileOf("superblock")), superblock);
  EXPECT_EQ(ContentsOf(folder_.FileOf("segments")), segments);
}

TEST_F(StoreRecoveryTest, ADamagedSuperblockIsRefused) {
  store_.reset();
  Overwrite(folder_.FileOf("superblock"), 20, "x");
  EXPECT_EQ(ErrorOfOpening().code, ErrorCode::kInvalid);
  Overwrite(folder_.FileOf("superblock"), 0, "x");
  EXPECT_EQ(ErrorOfOpening().code, ErrorCode::kInvalid);
}

TEST_F(StoreRecoveryTest, OneProcessAtATime) {
  EXPECT_EQ(ErrorOfOpening().code, ErrorCode::kExists);
}

TEST_F(StoreRecoveryTest, ADiskIsNoPlaceForPages) {
  const auto store = Store::Create({.path = "/usr/share/tmem-store"});
  ASSERT_FALSE(store);
  std::filesystem::remove("/usr/share/tmem-store");
}

TEST_F(StoreRecoveryTest, AStoreThatWasNeverFinishedIsMadeAnew) {
  store_.reset();
  std::filesystem::remove(folder_.FileOf("superblock"));
  Reopen();
  EXPECT_TRUE(store_->Survivors().empty());
  auto guest = TakeUp(1);
  EXPECT_EQ(Put(guest, NewPool(guest, kPersistent), 1, 1), PutStatus::kStored);
}

// Bytes that no tmemd wrote lose the pages that they stood for, and nothing else.
TEST_F(StoreRecoveryTest, NonsenseInTheFilesHarmsNobodyElse) {
  auto guest = TakeUp(1);
  const PoolId pool = NewPool(guest, kPersistent);
  for (uint32_t i = 0; i < 100; ++i) Put(guest, pool, 1, i, i);
  guest.reset();
  store_.reset();
  const auto header = [](uint32_t slot) {
    return kSegmentSize - (slot + 1) * sizeof(RecordHeader);
  };
  Overwrite(folder_.FileOf("segments"), header(3) + offsetof(RecordHeader, codec), "\x7f");
  Overwrite(folder_.FileOf("segments"), header(4) + offsetof(RecordHeader, object),
            "\xff\xff\xff\xff");
  Overwrite(folder_.FileOf("segments"), header(5) + offsetof(RecordHeader, length), "\xff\xff");
  Overwrite(folder_.FileOf("segments"), 6 * kPageSize + 5, "damage");
  Overwrite(folder_.FileOf("segment-records"), 5 * sizeof(SegmentRecord),
            "\xff\xff\xff\xff\xff\xff\xff\xff");
  Reopen();
  guest = TakeUp(1);
  uint32_t lost = 0;
  for (uint32_t i = 0; i < 100; ++i) {
    const GetStatus status = Get(guest, pool, 1, i);
    if (status == GetStatus::kHit) {
      EXPECT_TRUE(Has(guest, pool, 1, i, i));
    } else {
      ++lost;
    }
  }
  EXPECT_EQ(lost, 4u);
  guest.reset();
  ExpectNothingLeft();
}

// ---- any history ----

// Operations on one guest's pools, with the store closed and opened again anywhere, against a map.
RC_GTEST_FIXTURE_PROP(StoreRecoveryTest, AnyHistoryIsContinued, ()) {
  for (const GuestId id : store_->Guests()) store_->RemoveGuest(id);
  auto guest = TakeUp(1);
  const std::array pools = {NewPool(guest, kPersistent), NewPool(guest, kEphemeral)};
  std::map<std::tuple<uint32_t, uint64_t, uint32_t>, std::pair<uint64_t, PageLook>> model;
  const auto ops = *rc::gen::resize(150, rc::gen::container<std::vector<uint64_t>>(rc::gen::resize(
                                             rc::kNominalSize, rc::gen::arbitrary<uint64_t>())));
  for (const uint64_t op : ops) {
    const uint32_t which = op >> 8 & 1;
    const PoolId pool = pools[which];
    const uint64_t object = op >> 16 & 7;
    const uint32_t index = op >> 24 & 15;
    const std::tuple key{which, object, index};
    switch (op % 32) {
      case 0: {
        guest.reset();
        Reopen();
        guest = TakeUp(1);
        break;
      }
      case 1:
        FlushObject(guest, pool, object);
        std::erase_if(model, [&](const auto& page) {
          return std::get<0>(page.first) == which && std::get<1>(page.first) == object;
        });
        break;
      case 2:
      case 3:
        Flush(guest, pool, object, index);
        model.erase(key);
        break;
      case 4 ... 15: {
        const auto at = model.find(key);
        if (at == model.end()) {
          const GetStatus status = Get(guest, pool, object, index);
          RC_ASSERT(status == GetStatus::kMiss || status == GetStatus::kEmpty);
        } else {
          RC_ASSERT(Has(guest, pool, object, index, at->second.first, at->second.second));
          if (which == 1) model.erase(at);
        }
        break;
      }
      default: {
        const auto look = static_cast<PageLook>(op >> 32 & 3);
        RC_ASSERT(Put(guest, pool, object, index, op, look) == PutStatus::kStored);
        model[key] = {op, look};
      }
    }
  }
  const GuestStats stats = StatsOf(1);
  RC_ASSERT(stats.stored[0].pages + stats.stored[1].pages == model.size());
  RC_ASSERT(stats.stored[0].charged_bytes + stats.stored[1].charged_bytes == stats.charged.value);
}

}  // namespace
}  // namespace tmem
