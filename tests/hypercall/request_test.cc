#include "hypercall/request.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstring>
#include <vector>

#include "hypercall/test_frontend.h"

namespace tmem {
namespace {

constexpr Agreement kAgreement{.slot_count = 100, .may_post = true};
constexpr ObjectId kObject{{1, 2, 3}};

bool WellFormed(const tmemif_request& request, const Agreement& agreement = kAgreement) {
  return !FindViolation(request, agreement);
}

std::vector<tmemif_request> OneOfEach() {
  return {NewPoolRequest(kPersistentPool), DestroyPoolRequest(3),
          PutRequest(3, kObject, 5, 7, 2), PostedPutRequest(3, kObject, 5, 7),
          GetRequest(3, kObject, 5, 7, 2), FlushPageRequest(3, kObject, 5, 2),
          FlushObjectRequest(3, kObject)};
}

TEST(RequestTest, WhatACorrectFrontendSendsIsWellFormed) {
  for (const tmemif_request& request : OneOfEach()) {
    EXPECT_TRUE(WellFormed(request)) << int{request.op};
  }
}

TEST(RequestTest, IdAndPoolAreTheFrontendsOwn) {
  for (tmemif_request request : OneOfEach()) {
    request.id = UINT16_MAX;
    if (request.op != TMEMIF_OP_NEW_POOL) request.pool = UINT32_MAX;
    EXPECT_TRUE(WellFormed(request)) << int{request.op};
  }
}

TEST(RequestTest, UnknownOperationsAreWellFormed) {
  for (int op = 0; op <= UINT8_MAX; ++op) {
    tmemif_request request{};
    std::memset(&request, 0xff, sizeof(request));
    request.flags = 0;
    request.op = static_cast<uint8_t>(op);
    const bool known = op == 1 || op == 2 || (op >= 4 && op <= 7);
    EXPECT_EQ(WellFormed(request), !known) << op;
  }
}

// ---- one test a named limit, exceeded by one ----

TEST(RequestTest, EveryUnknownFlagIsAViolation) {
  for (tmemif_request request : OneOfEach()) {
    for (int bit = 1; bit < 8; ++bit) {
      const uint8_t flags = request.flags;
      request.flags = static_cast<uint8_t>(flags | 1u << bit);
      EXPECT_FALSE(WellFormed(request)) << int{request.op} << " bit " << bit;
      request.flags = flags;
    }
  }
}

TEST(RequestTest, OnlyPutsArePosted) {
  for (tmemif_request request : OneOfEach()) {
    request.flags = TMEMIF_REQ_POSTED;
    EXPECT_EQ(WellFormed(request), request.op == TMEMIF_OP_PUT_PAGE) << int{request.op};
  }
  tmemif_request unknown{};
  unknown.op = 99;
  unknown.flags = TMEMIF_REQ_POSTED;
  EXPECT_FALSE(WellFormed(unknown));
}

TEST(RequestTest, PostingNeedsTheFeature) {
  const Agreement agreement{.slot_count = 100, .may_post = false};
  EXPECT_FALSE(WellFormed(PostedPutRequest(0, kObject, 0, 0), agreement));
  EXPECT_TRUE(WellFormed(PutRequest(0, kObject, 0, 0), agreement));
}

TEST(RequestTest, ABatchIsAtMostMaxBatch) {
  for (const uint8_t op : {TMEMIF_OP_PUT_PAGE, TMEMIF_OP_GET_PAGE, TMEMIF_OP_FLUSH_PAGE}) {
    tmemif_request request = FlushPageRequest(0, kObject, 0);
    request.op = op;
    request.u.page.nr_pages = TMEMIF_MAX_BATCH;
    EXPECT_TRUE(WellFormed(request));
    request.u.page.nr_pages = TMEMIF_MAX_BATCH + 1;
    EXPECT_FALSE(WellFormed(request));
    request.u.page.nr_pages = UINT32_MAX;
    EXPECT_FALSE(WellFormed(request));
    request.u.page.nr_pages = 0;
    EXPECT_FALSE(WellFormed(request));
  }
}

TEST(RequestTest, TheIndexesOfABatchEndAtTwoToThe32) {
  EXPECT_TRUE(WellFormed(PutRequest(0, kObject, UINT32_MAX, 0, 1)));
  EXPECT_TRUE(WellFormed(PutRequest(0, kObject, UINT32_MAX - 1, 0, 2)));
  EXPECT_FALSE(WellFormed(PutRequest(0, kObject, UINT32_MAX, 0, 2)));
  EXPECT_FALSE(WellFormed(GetRequest(0, kObject, UINT32_MAX, 0, 2)));
  EXPECT_FALSE(WellFormed(FlushPageRequest(0, kObject, UINT32_MAX, 2)));
}

TEST(RequestTest, TheSlotsOfABatchEndAtNumSlots) {
  EXPECT_TRUE(WellFormed(PutRequest(0, kObject, 0, 99, 1)));
  EXPECT_TRUE(WellFormed(GetRequest(0, kObject, 0, 98, 2)));
  EXPECT_FALSE(WellFormed(PutRequest(0, kObject, 0, 100, 1)));
  EXPECT_FALSE(WellFormed(GetRequest(0, kObject, 0, 99, 2)));
}

// slot + nr_pages would be small again in 32 bits.
TEST(RequestTest, SlotsThatOverflowAreAViolation) {
  EXPECT_FALSE(WellFormed(PutRequest(0, kObject, 0, UINT32_MAX, 2)));
  EXPECT_FALSE(WellFormed(GetRequest(0, kObject, 0, UINT32_MAX - 62, 64)));
}

TEST(RequestTest, AFlushNamesNoSlot) {
  tmemif_request request = FlushPageRequest(0, kObject, 0);
  request.u.page.slot = 1;
  EXPECT_FALSE(WellFormed(request));
}

TEST(RequestTest, NewPoolNamesNoPool) {
  tmemif_request request = NewPoolRequest(kEphemeralPool);
  request.pool = 1;
  EXPECT_FALSE(WellFormed(request));
}

TEST(RequestTest, RefusedPoolFlagsAreNoViolation) {
  EXPECT_TRUE(WellFormed(NewPoolRequest(UINT32_MAX)));
  EXPECT_TRUE(WellFormed(NewPoolRequest(0)));
}

// Bytes of the arguments in which an operation has fields; all others are reserved.
struct Fields {
  uint8_t op;
  size_t bytes;
};

class ReservedTest : public testing::TestWithParam<Fields> {};

TEST_P(ReservedTest, EveryReservedBitIsChecked) {
  tmemif_request request{};
  for (const tmemif_request& one : OneOfEach()) {
    if (one.op == GetParam().op) request = one;
  }
  ASSERT_TRUE(WellFormed(request));
  for (size_t bit = GetParam().bytes * 8; bit < sizeof(request.u) * 8; ++bit) {
    tmemif_request changed = request;
    changed.u.words[bit / 64] |= uint64_t{1} << bit % 64;
    EXPECT_FALSE(WellFormed(changed)) << "bit " << bit;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Operations, ReservedTest,
    testing::Values(Fields{TMEMIF_OP_NEW_POOL, offsetof(tmemif_new_pool_args, reserved0)},
                    Fields{TMEMIF_OP_DESTROY_POOL, 0},
                    Fields{TMEMIF_OP_PUT_PAGE, offsetof(tmemif_page_args, reserved0)},
                    Fields{TMEMIF_OP_GET_PAGE, offsetof(tmemif_page_args, reserved0)},
                    Fields{TMEMIF_OP_FLUSH_PAGE, offsetof(tmemif_page_args, reserved0)},
                    Fields{TMEMIF_OP_FLUSH_OBJECT, offsetof(tmemif_object_args, reserved)}));

// Whatever passes the check can be executed without another one.
RC_GTEST_PROP(RequestPropertyTest, WhatPassesStaysInBounds, ()) {
  tmemif_request request = *rc::gen::elementOf(OneOfEach());
  const auto mutations = *rc::gen::inRange(0, 4);
  for (int i = 0; i < mutations; ++i) {
    const auto at = *rc::gen::inRange<size_t>(0, sizeof(request));
    reinterpret_cast<uint8_t*>(&request)[at] = *rc::gen::arbitrary<uint8_t>();
  }
  const Agreement agreement{.slot_count = *rc::gen::inRange(1u, TMEMIF_MAX_SLOTS + 1),
                            .may_post = *rc::gen::arbitrary<bool>()};
  const bool page_operation = request.op == TMEMIF_OP_PUT_PAGE ||
                              request.op == TMEMIF_OP_GET_PAGE ||
                              request.op == TMEMIF_OP_FLUSH_PAGE;
  if (!WellFormed(request, agreement) || !page_operation) return;
  const tmemif_page_args& page = request.u.page;
  RC_ASSERT(page.nr_pages >= 1 && page.nr_pages <= 64);  // one bit of `done` each
  RC_ASSERT(page.index <= UINT32_MAX - (page.nr_pages - 1));
  if (request.op != TMEMIF_OP_FLUSH_PAGE) {
    RC_ASSERT(page.slot < agreement.slot_count);
    RC_ASSERT(page.nr_pages <= agreement.slot_count - page.slot);
  }
  RC_ASSERT((request.flags & TMEMIF_REQ_POSTED) == 0 || agreement.may_post);
}

}  // namespace
}  // namespace tmem
