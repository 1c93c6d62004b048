// The backend's half of a ring (abi/tmemif.h): takes requests, gives responses.
//
// The memory is shared with a guest that may be hostile. Every field is read once, as an atomic;
// our own indices are kept privately and only written out. Nothing here depends on what the guest
// writes but the count of waiting requests, and that is checked against the ring's size.
//
// Not thread-safe: one worker at a time.
#ifndef TMEM_HYPERCALL_RING_H_
#define TMEM_HYPERCALL_RING_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "hypercall/abi/tmemif.h"

namespace tmem {

class BackRing {
 public:
  enum class Taken {
    kNothing,  // no request is waiting
    kRequest,
    kOverrun,  // the frontend claims more requests than the ring holds: nothing can be trusted
  };

  // Continues where the ring's rsp_prod says that the last backend stopped.
  // REQUIRES: memory.size() == TMEMIF_RING_BYTES(order), aligned to a cache line.
  BackRing(std::span<std::byte> memory, uint32_t order);

  // Copies the next request out.
  Taken Take(tmemif_request& request);

  // How many requests are known to wait, without looking at the ring.
  uint32_t known() const { return produced_ - taken_; }

  // Answers the oldest request that was taken and not answered. The frontend sees it after Push.
  void Answer(const tmemif_response& response);

  // The index of the oldest request that is not answered: the one in hand.
  uint32_t answered() const { return responses_; }
  uint32_t entries() const { return TMEMIF_RING_ENTRIES(order_); }

  // How many responses were given since the last Push.
  uint32_t unpushed() const { return responses_ - pushed_; }

  // Shows all responses to the frontend. True if it asked to be notified of one of them.
  bool Push();

  // Asks for a notification of the next request. True if one is waiting already.
  bool Arm();

 private:
  const std::byte* RequestAt(uint32_t i) const;
  std::byte* ResponseAt(uint32_t i) const;

  tmemif_ring& shared_;
  std::byte* const memory_;
  const uint32_t order_;
  uint32_t responses_;  // given, and so the index of the oldest unanswered request
  uint32_t taken_;      // requests copied out
  uint32_t produced_;   // req_prod when last looked
  uint32_t pushed_;     // our rsp_prod
};

}  // namespace tmem

#endif  // TMEM_HYPERCALL_RING_H_
