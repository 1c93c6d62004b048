#include "client/operation.h"

#include <bit>

namespace tmem::client {

namespace {

constexpr int32_t kLargestErrno = 4095;  // as in the kernel

uint64_t MaskOf(uint32_t count) { return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1; }

}  // namespace

bool IsPlausible(uint8_t code, uint32_t count, const tmemif_response& response) {
  const int32_t status = response.status;
  if (status < -kLargestErrno || response.reserved != 0) return false;
  switch (code) {
    case TMEMIF_OP_PUT_PAGE:
    case TMEMIF_OP_GET_PAGE:
      return (response.done & ~MaskOf(count)) == 0 &&
             std::popcount(response.done) == (status > 0 ? status : 0);
    case TMEMIF_OP_FLUSH_PAGE:
      if (status == -TMEMIF_EFROZEN) return response.done == MaskOf(count);
      return status < 0 ? response.done == 0
                        : status == static_cast<int32_t>(count) && response.done == MaskOf(count);
    case TMEMIF_OP_NEW_POOL:
      return response.done == 0 && status < static_cast<int32_t>(TMEMIF_MAX_POOLS);
    default:
      return response.done == 0 && (status == 1 || status < 0);
  }
}

void Absorb(Operation& operation, uint32_t first, const tmemif_response& response) {
  operation.done |= response.done << first;
  switch (operation.code) {
    case TMEMIF_OP_PUT_PAGE:
    case TMEMIF_OP_GET_PAGE:
      if (operation.done != 0) {
        operation.result = std::popcount(operation.done);
      } else if (first == 0) {
        operation.result = response.status;
      }
      break;
    case TMEMIF_OP_FLUSH_PAGE:
      // An error is of the pool or the guest, and so of all pages.
      if (operation.result >= 0) {
        operation.result =
            response.status < 0 ? response.status : operation.result + response.status;
      }
      break;
    default:
      operation.result = response.status;
  }
}

}  // namespace tmem::client
