// What each operation answers, one at a time. How a queue takes its turns: queue_turn_test.cc.
#include "hypercall/queue.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "hypercall/queue_rig.h"
#include "hypercall/test_frontend.h"

namespace tmem {
namespace {

constexpr ObjectId kObject{{1, 2, 3}};
constexpr ObjectId kOther{{1, 2, 4}};

int32_t Minus(uint32_t error) { return -static_cast<int32_t>(error); }

class QueueTest : public testing::Test {
 protected:
  int32_t Status(const tmemif_request& request) { return rig_.Run(request).status; }
  // Puts the page that follows from the seed.
  int32_t Put(uint32_t pool, const ObjectId& object, uint32_t index, uint64_t seed) {
    rig_.FillSlot(0, seed);
    return Status(PutRequest(pool, object, index, 0));
  }
  // True if a get delivers the page that follows from the seed.
  bool Holds(uint32_t pool, const ObjectId& object, uint32_t index, uint64_t seed) {
    rig_.FillSlot(1, ~seed);
    return Status(GetRequest(pool, object, index, 1)) == 1 && rig_.SlotHolds(1, seed);
  }
  void Freeze(bool frozen) {
    GuestSettings settings;
    settings.frozen = frozen;
    rig_.Configure(settings);
  }

  QueueRig rig_;
};

// ---- pools ----

TEST_F(QueueTest, PoolsGetTheFirstFreeIdAndSixteenAreAll) {
  for (int32_t id = 0; id < 16; ++id) {
    EXPECT_EQ(Status(NewPoolRequest(id % 2 == 0 ? kPersistentPool : kEphemeralPool)), id);
  }
  EXPECT_EQ(Status(NewPoolRequest(kEphemeralPool)), Minus(TMEMIF_ENOSPC));
  EXPECT_EQ(Status(DestroyPoolRequest(5)), 1);
  EXPECT_EQ(Status(NewPoolRequest(kEphemeralPool)), 5);
}

TEST_F(QueueTest, PoolFlagsThatTheOldHypercallRefusedAreRefused) {
  std::vector<uint32_t> refused = {
      kVersionFlag | TMEMIF_POOL_PERSIST | TMEMIF_POOL_SHARED,
      kVersionFlag | TMEMIF_POOL_PRECOMPRESSED,
      0,                                // version 0
      2u << TMEMIF_POOL_VERSION_SHIFT,  // version 2
      UINT32_MAX,
  };
  for (uint32_t bit = 4; bit < 8; ++bit) refused.push_back(kVersionFlag | 1u << bit);  // page size
  for (uint32_t bit = 8; bit < 24; ++bit) refused.push_back(kVersionFlag | 1u << bit);
  refused.push_back(kVersionFlag | 1u << 3);
  for (const uint32_t flags : refused) {
    EXPECT_EQ(Status(NewPoolRequest(flags)), Minus(TMEMIF_EPERM)) << std::hex << flags;
  }
  EXPECT_EQ(Status(NewPoolRequest(kEphemeralPool)), 0) << "refusals take no id";
}

TEST_F(QueueTest, ASharedPoolWithoutAuthorizationIsPrivate) {
  const Uuid uuid{{7, 8}};
  const auto pool = static_cast<uint32_t>(Status(NewPoolRequest(kSharedPool, uuid)));
  ASSERT_EQ(Put(pool, kObject, 0, 1), 1);
  EXPECT_TRUE(Holds(pool, kObject, 0, 1));
  EXPECT_FALSE(Holds(pool, kObject, 0, 1)) << "a private ephemeral get removes the page";
  EXPECT_EQ(rig_.store().Stats().shared_pools, 0u);
}

TEST_F(QueueTest, ASharedPoolWithAuthorizationIsShared) {
  const Uuid uuid{{7, 8}};
  GuestSettings settings;
  settings.shared_auth.insert(uuid);
  rig_.Configure(settings);
  const auto pool = static_cast<uint32_t>(Status(NewPoolRequest(kSharedPool, uuid)));
  ASSERT_EQ(Put(pool, kObject, 0, 1), 1);
  EXPECT_TRUE(Holds(pool, kObject, 0, 1));
  EXPECT_TRUE(Holds(pool, kObject, 0, 1)) << "a shared get leaves the page";
  EXPECT_EQ(rig_.store().Stats().shared_pools, 1u);
}

// The class of XSA-15: a negative pool id once passed the bound.
TEST_F(QueueTest, PoolsThatDoNotExistAreNoDevice) {
  for (const uint32_t pool : {0u, 15u, 16u, 0x7fffffffu, 0x80000000u, UINT32_MAX}) {
    for (const tmemif_request& request :
         {DestroyPoolRequest(pool), PutRequest(pool, kObject, 0, 0, 2),
          PostedPutRequest(pool, kObject, 0, 0), GetRequest(pool, kObject, 0, 0, 2),
          FlushPageRequest(pool, kObject, 0, 2), FlushObjectRequest(pool, kObject)}) {
      const tmemif_response response = rig_.Run(request);
      EXPECT_EQ(response.status, Minus(TMEMIF_ENODEV)) << pool << " op " << int{request.op};
      EXPECT_EQ(response.done, 0u);
    }
  }
}

TEST_F(QueueTest, ADestroyedPoolIsGoneWithItsPages) {
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  ASSERT_EQ(Put(pool, kObject, 0, 1), 1);
  EXPECT_EQ(Status(DestroyPoolRequest(pool)), 1);
  EXPECT_EQ(Status(GetRequest(pool, kObject, 0, 1)), Minus(TMEMIF_ENODEV));
  EXPECT_EQ(Status(DestroyPoolRequest(pool)), Minus(TMEMIF_ENODEV));
  ASSERT_EQ(rig_.NewPool(kPersistentPool), pool);
  EXPECT_EQ(Status(GetRequest(pool, kObject, 0, 1)), Minus(TMEMIF_EEMPTY));
}

TEST_F(QueueTest, UnknownOperationsAreAnsweredSo) {
  for (int op = 0; op <= UINT8_MAX; ++op) {
    if (op == 1 || op == 2 || (op >= 4 && op <= 7)) continue;
    tmemif_request request{};
    request.id = static_cast<uint16_t>(op);
    request.op = static_cast<uint8_t>(op);
    const tmemif_response response = rig_.Run(request);
    EXPECT_EQ(response.status, Minus(TMEMIF_ENOSYS));
    EXPECT_EQ(response.id, op);
  }
}

// ---- pages ----

TEST_F(QueueTest, APersistentPageStaysUntilItIsFlushed) {
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  ASSERT_EQ(Put(pool, kObject, UINT32_MAX, 1), 1);
  EXPECT_TRUE(Holds(pool, kObject, UINT32_MAX, 1));
  EXPECT_TRUE(Holds(pool, kObject, UINT32_MAX, 1));
  EXPECT_EQ(Status(FlushPageRequest(pool, kObject, UINT32_MAX)), 1);
  EXPECT_EQ(Status(GetRequest(pool, kObject, UINT32_MAX, 1)), Minus(TMEMIF_EEMPTY));
  EXPECT_EQ(Status(FlushPageRequest(pool, kObject, UINT32_MAX)), 1) << "flushing nothing succeeds";
}

TEST_F(QueueTest, AnEphemeralGetIsExclusive) {
  const uint32_t pool = rig_.NewPool(kEphemeralPool);
  ASSERT_EQ(Put(pool, kObject, 3, 1), 1);
  ASSERT_EQ(Put(pool, kObject, 4, 2), 1);
  EXPECT_TRUE(Holds(pool, kObject, 3, 1));
  EXPECT_EQ(Status(GetRequest(pool, kObject, 3, 1)), 0);
  EXPECT_TRUE(Holds(pool, kObject, 4, 2));
  EXPECT_EQ(Status(GetRequest(pool, kObject, 3, 1)), Minus(TMEMIF_EEMPTY));
}

TEST_F(QueueTest, AMissLeavesTheSlotAlone) {
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  rig_.FillSlot(2, 9);
  EXPECT_EQ(Status(GetRequest(pool, kObject, 0, 2)), Minus(TMEMIF_EEMPTY));
  EXPECT_TRUE(rig_.SlotHolds(2, 9));
}

TEST_F(QueueTest, AllThreeWordsOfTheObjectIdCount) {
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  ASSERT_EQ(Put(pool, kObject, 0, 1), 1);
  for (const ObjectId& other : {ObjectId{{9, 2, 3}}, ObjectId{{1, 9, 3}}, ObjectId{{1, 2, 9}}}) {
    EXPECT_EQ(Status(GetRequest(pool, other, 0, 1)), 0);
  }
}

TEST_F(QueueTest, ADuplicatePutReplaces) {
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  ASSERT_EQ(Put(pool, kObject, 0, 1), 1);
  ASSERT_EQ(Put(pool, kObject, 0, 2), 1);
  EXPECT_TRUE(Holds(pool, kObject, 0, 2));
}

TEST_F(QueueTest, ARefusedPutLeavesNoOldPage) {
  GuestSettings settings;
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  ASSERT_EQ(Put(pool, kObject, 0, 1), 1);
  ASSERT_EQ(Put(pool, kOther, 0, 2), 1);
  settings.cap = KiB(1);
  rig_.Configure(settings);
  EXPECT_EQ(Put(pool, kObject, 0, 3), Minus(TMEMIF_ENOMEM));
  EXPECT_EQ(Status(GetRequest(pool, kObject, 0, 1)), 0);
  EXPECT_TRUE(Holds(pool, kOther, 0, 2));
}

TEST_F(QueueTest, FlushObjectTakesThatObjectOnly) {
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  for (uint32_t index = 0; index < 10; ++index) ASSERT_EQ(Put(pool, kObject, index, index), 1);
  ASSERT_EQ(Put(pool, kOther, 0, 77), 1);
  EXPECT_EQ(Status(FlushObjectRequest(pool, kObject)), 1);
  EXPECT_EQ(Status(GetRequest(pool, kObject, 0, 1)), 0);
  EXPECT_TRUE(Holds(pool, kOther, 0, 77));
  EXPECT_EQ(Status(FlushObjectRequest(pool, kObject)), 1);
}

TEST_F(QueueTest, AFrozenGuestsPutsAreRefusedAndItsFlushesExecuted) {
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  for (uint32_t index = 0; index < 4; ++index) ASSERT_EQ(Put(pool, kObject, index, index), 1);
  Freeze(true);
  EXPECT_EQ(Put(pool, kObject, 0, 9), Minus(TMEMIF_EFROZEN));
  EXPECT_EQ(Status(GetRequest(pool, kObject, 0, 1)), 0) << "the duplicate put flushed the old page";
  EXPECT_TRUE(Holds(pool, kObject, 1, 1)) << "gets go on";

  const tmemif_response flushed = rig_.Run(FlushPageRequest(pool, kObject, 1, 2));
  EXPECT_EQ(flushed.status, Minus(TMEMIF_EFROZEN));
  EXPECT_EQ(flushed.done, 0b11u);
  EXPECT_EQ(Status(GetRequest(pool, kObject, 1, 1)), 0);
  EXPECT_TRUE(Holds(pool, kObject, 3, 3));
  EXPECT_EQ(Status(FlushObjectRequest(pool, kObject)), Minus(TMEMIF_EFROZEN));
  EXPECT_EQ(Status(GetRequest(pool, kObject, 3, 1)), Minus(TMEMIF_EEMPTY));
  Freeze(false);
  EXPECT_EQ(Put(pool, kObject, 0, 9), 1);
}

// ---- batches ----

TEST_F(QueueTest, ABatchTellsWhichPagesWereDone) {
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  for (const uint32_t index : {11u, 13u}) ASSERT_EQ(Put(pool, kObject, index, index), 1);
  for (uint32_t slot = 20; slot < 24; ++slot) rig_.FillSlot(slot, 1000 + slot);
  const tmemif_response got = rig_.Run(GetRequest(pool, kObject, 10, 20, 4));
  EXPECT_EQ(got.status, 2);
  EXPECT_EQ(got.done, 0b1010u);
  EXPECT_TRUE(rig_.SlotHolds(20, 1020)) << "a page that was not done is not written";
  EXPECT_TRUE(rig_.SlotHolds(21, 11));
  EXPECT_TRUE(rig_.SlotHolds(22, 1022));
  EXPECT_TRUE(rig_.SlotHolds(23, 13));
  const tmemif_response flushed = rig_.Run(FlushPageRequest(pool, kObject, 10, 4));
  EXPECT_EQ(flushed.status, 4) << "flushing what is not there succeeds";
  EXPECT_EQ(flushed.done, 0b1111u);
}

TEST_F(QueueTest, AFullBatchUsesEveryBitOfDone) {
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  for (uint32_t slot = 0; slot < 64; ++slot) rig_.FillSlot(slot, slot);
  for (const tmemif_request& request : {PutRequest(pool, kObject, UINT32_MAX - 63, 0, 64),
                                        GetRequest(pool, kObject, UINT32_MAX - 63, 0, 64),
                                        FlushPageRequest(pool, kObject, UINT32_MAX - 63, 64)}) {
    const tmemif_response response = rig_.Run(request);
    EXPECT_EQ(response.status, 64);
    EXPECT_EQ(response.done, UINT64_MAX);
  }
  EXPECT_EQ(rig_.store().Stats().stored[1].pages, 0u);
}

TEST_F(QueueTest, ABatchOfWhichNothingWasDoneIsAnsweredAsItsFirstPage) {
  const uint32_t pool = rig_.NewPool(kEphemeralPool);
  EXPECT_EQ(Status(GetRequest(pool, kObject, 0, 0, 8)), Minus(TMEMIF_EEMPTY));
  ASSERT_EQ(Put(pool, kOther, 0, 1), 1);
  EXPECT_EQ(Status(GetRequest(pool, kObject, 0, 0, 8)), 0);
  Freeze(true);
  const tmemif_response refused = rig_.Run(PutRequest(pool, kObject, 0, 0, 8));
  EXPECT_EQ(refused.status, Minus(TMEMIF_EFROZEN));
  EXPECT_EQ(refused.done, 0u);
}

// ---- posted puts ----

TEST_F(QueueTest, APostedPutFollowedAtOnceIsSeen) {
  const uint32_t pool = rig_.NewPool(kEphemeralPool);
  rig_.FillSlot(0, 1);
  rig_.FillSlot(1, 2);
  rig_.FillSlot(2, 3);
  const std::vector<tmemif_request> requests = {
      PostedPutRequest(pool, kObject, 0, 0), GetRequest(pool, kObject, 0, 10),
      PostedPutRequest(pool, kObject, 0, 1), FlushPageRequest(pool, kObject, 0),
      GetRequest(pool, kObject, 0, 11),      PostedPutRequest(pool, kObject, 0, 1),
      PostedPutRequest(pool, kObject, 0, 2), GetRequest(pool, kObject, 0, 12),
      PostedPutRequest(pool, kObject, 0, 2), FlushObjectRequest(pool, kObject),
      GetRequest(pool, kObject, 0, 13)};
  const auto responses = rig_.RunAll(requests);
  ASSERT_EQ(responses.size(), requests.size());
  EXPECT_EQ(responses[1].status, 1);
  EXPECT_TRUE(rig_.SlotHolds(10, 1));
  EXPECT_EQ(responses[4].status, Minus(TMEMIF_EEMPTY));
  EXPECT_EQ(responses[7].status, 1);
  EXPECT_TRUE(rig_.SlotHolds(12, 3)) << "the later put counts";
  EXPECT_EQ(responses[10].status, Minus(TMEMIF_EEMPTY));
}

TEST_F(QueueTest, APostedPutToAPersistentPoolIsRefused) {
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  const tmemif_response response = rig_.Run(PostedPutRequest(pool, kObject, 0, 0, 2));
  EXPECT_EQ(response.status, Minus(TMEMIF_EINVAL));
  EXPECT_EQ(response.done, 0u);
  EXPECT_EQ(Status(GetRequest(pool, kObject, 0, 1)), Minus(TMEMIF_EEMPTY));
}

// Refused as it is, the put has made the page under its handle an old one.
TEST_F(QueueTest, APostedPutToAPersistentPoolLeavesNoOldPage) {
  const uint32_t pool = rig_.NewPool(kPersistentPool);
  for (uint32_t index = 0; index < 4; ++index) ASSERT_EQ(Put(pool, kObject, index, index), 1);
  ASSERT_EQ(Status(PostedPutRequest(pool, kObject, 1, 0, 2)), Minus(TMEMIF_EINVAL));
  EXPECT_TRUE(Holds(pool, kObject, 0, 0));
  EXPECT_EQ(Status(GetRequest(pool, kObject, 1, 1)), 0);
  EXPECT_EQ(Status(GetRequest(pool, kObject, 2, 1)), 0);
  EXPECT_TRUE(Holds(pool, kObject, 3, 3));
}

}  // namespace
}  // namespace tmem
