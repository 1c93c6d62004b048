#include "client/operation.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace tmem::client {
namespace {

tmemif_response Response(int32_t status, uint64_t done) {
  return {.id = 0, .reserved = 0, .status = status, .done = done};
}

bool Plausible(uint8_t code, uint32_t count, int32_t status, uint64_t done) {
  return IsPlausible(code, count, Response(status, done));
}

TEST(OperationTest, ChecksAnswersToPutsAndGets) {
  for (const uint8_t code : {TMEMIF_OP_PUT_PAGE, TMEMIF_OP_GET_PAGE}) {
    EXPECT_TRUE(Plausible(code, 1, 1, 1));
    EXPECT_TRUE(Plausible(code, 1, 0, 0));
    EXPECT_TRUE(Plausible(code, 3, 2, 0b101));
    EXPECT_TRUE(Plausible(code, 64, 64, ~uint64_t{0}));
    EXPECT_TRUE(Plausible(code, 3, -TMEMIF_EFROZEN, 0));
    EXPECT_FALSE(Plausible(code, 1, 1, 0));
    EXPECT_FALSE(Plausible(code, 1, 0, 1));
    EXPECT_FALSE(Plausible(code, 1, 2, 0b11));
    EXPECT_FALSE(Plausible(code, 3, 3, 0b1011));
    EXPECT_FALSE(Plausible(code, 3, 2, 0b111));
    EXPECT_FALSE(Plausible(code, 3, -ENOMEM, 0b1));
    EXPECT_FALSE(Plausible(code, 63, 1, uint64_t{1} << 63));
    EXPECT_FALSE(Plausible(code, 1, INT32_MIN, 0));
    EXPECT_FALSE(Plausible(code, 1, INT32_MAX, 1));
  }
}

TEST(OperationTest, ChecksAnswersToFlushes) {
  EXPECT_TRUE(Plausible(TMEMIF_OP_FLUSH_PAGE, 3, 3, 0b111));
  EXPECT_TRUE(Plausible(TMEMIF_OP_FLUSH_PAGE, 3, -TMEMIF_EFROZEN, 0b111));
  EXPECT_TRUE(Plausible(TMEMIF_OP_FLUSH_PAGE, 3, -ENODEV, 0));
  EXPECT_FALSE(Plausible(TMEMIF_OP_FLUSH_PAGE, 3, 2, 0b11));
  EXPECT_FALSE(Plausible(TMEMIF_OP_FLUSH_PAGE, 3, 3, 0b11));
  EXPECT_FALSE(Plausible(TMEMIF_OP_FLUSH_PAGE, 3, -TMEMIF_EFROZEN, 0b1));
  EXPECT_FALSE(Plausible(TMEMIF_OP_FLUSH_PAGE, 3, -ENODEV, 0b1));
  EXPECT_TRUE(Plausible(TMEMIF_OP_FLUSH_OBJECT, 1, 1, 0));
  EXPECT_TRUE(Plausible(TMEMIF_OP_FLUSH_OBJECT, 1, -TMEMIF_EFROZEN, 0));
  EXPECT_FALSE(Plausible(TMEMIF_OP_FLUSH_OBJECT, 1, 0, 0));
  EXPECT_FALSE(Plausible(TMEMIF_OP_FLUSH_OBJECT, 1, 1, 1));
}

TEST(OperationTest, ChecksAnswersAboutPools) {
  EXPECT_TRUE(Plausible(TMEMIF_OP_NEW_POOL, 1, 0, 0));
  EXPECT_TRUE(Plausible(TMEMIF_OP_NEW_POOL, 1, 15, 0));
  EXPECT_TRUE(Plausible(TMEMIF_OP_NEW_POOL, 1, -ENOSPC, 0));
  EXPECT_FALSE(Plausible(TMEMIF_OP_NEW_POOL, 1, 16, 0));
  EXPECT_FALSE(Plausible(TMEMIF_OP_NEW_POOL, 1, 0, 1));
  EXPECT_TRUE(Plausible(TMEMIF_OP_DESTROY_POOL, 1, 1, 0));
  EXPECT_TRUE(Plausible(TMEMIF_OP_DESTROY_POOL, 1, -ENODEV, 0));
  EXPECT_FALSE(Plausible(TMEMIF_OP_DESTROY_POOL, 1, 2, 0));
}

TEST(OperationTest, RefusesReservedBits) {
  tmemif_response response = Response(1, 1);
  response.reserved = 1;
  EXPECT_FALSE(IsPlausible(TMEMIF_OP_PUT_PAGE, 1, response));
}

Operation Absorbed(uint8_t code,
                   std::initializer_list<std::pair<uint32_t, tmemif_response>> parts) {
  Operation operation;
  operation.code = code;
  for (const auto& [first, response] : parts) Absorb(operation, first, response);
  return operation;
}

TEST(OperationTest, AddsPartsUp) {
  const Operation some = Absorbed(
      TMEMIF_OP_PUT_PAGE, {{0, Response(-ENOMEM, 0)}, {4, Response(2, 0b11)}, {8, Response(0, 0)}});
  EXPECT_EQ(some.result, 2);
  EXPECT_EQ(some.done, 0b11u << 4);

  const Operation none =
      Absorbed(TMEMIF_OP_GET_PAGE, {{0, Response(-TMEMIF_EEMPTY, 0)}, {4, Response(-EIO, 0)}});
  EXPECT_EQ(none.result, -TMEMIF_EEMPTY);  // what the first page alone would have been answered
  EXPECT_EQ(none.done, 0u);

  const Operation flushed =
      Absorbed(TMEMIF_OP_FLUSH_PAGE, {{0, Response(4, 0xf)}, {4, Response(4, 0xf)}});
  EXPECT_EQ(flushed.result, 8);
  EXPECT_EQ(flushed.done, 0xffu);

  const Operation frozen =
      Absorbed(TMEMIF_OP_FLUSH_PAGE, {{0, Response(4, 0xf)}, {4, Response(-TMEMIF_EFROZEN, 0xf)}});
  EXPECT_EQ(frozen.result, -TMEMIF_EFROZEN);
  EXPECT_EQ(frozen.done, 0xffu);
}

}  // namespace
}  // namespace tmem::client
