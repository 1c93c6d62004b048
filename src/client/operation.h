// One call of the API on its way: a ring request, or several when a batch is larger than one
// request may be.
//
// Threads: what the caller fills in is constant from submission on; the rest is guarded by the
// queue's lock, until `finished`.
#ifndef TMEM_CLIENT_OPERATION_H_
#define TMEM_CLIENT_OPERATION_H_

#include <cstddef>
#include <cstdint>

#include "client/tmem_client.h"
#include "hypercall/abi/tmemif.h"

namespace tmem::client {

struct Operation {
  // ---- by the caller ----
  uint8_t code = 0;  // TMEMIF_OP_*
  uint32_t pool = 0;
  tmem_oid oid{};
  uint32_t index = 0;
  uint32_t count = 1;                     // pages; 1 for what is no page operation
  const std::byte* source = nullptr;      // put
  std::byte* destination = nullptr;       // get
  tmemif_new_pool_args new_pool{};        // NEW_POOL
  tmem_completion on_finished = nullptr;  // asynchronous: run once, then the operation is freed
  void* arg = nullptr;

  // ---- by the queue ----
  uint32_t unanswered = 0;  // requests
  bool submitting = true;   // more requests of it may come
  bool finished = false;
  int32_t result = 0;  // valid when finished, as the API returns it
  uint64_t done = 0;   // pages done
};

// Operations whose pages travel in data slots.
constexpr bool MovesPages(uint8_t code) {
  return code == TMEMIF_OP_PUT_PAGE || code == TMEMIF_OP_GET_PAGE;
}

// Could a correct daemon have answered a request of `count` pages so? (docs/protocol.md)
bool IsPlausible(uint8_t code, uint32_t count, const tmemif_response& response);

// Takes the response to pages [first, first + count) into account. REQUIRES: it is plausible.
void Absorb(Operation& operation, uint32_t first, const tmemif_response& response);

}  // namespace tmem::client

#endif  // TMEM_CLIENT_OPERATION_H_
