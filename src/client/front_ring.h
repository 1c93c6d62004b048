// The frontend's half of a ring (hypercall/abi/tmemif.h): gives requests, takes responses.
//
// The memory is shared with a daemon that may be broken: of what it writes only rsp_prod steers
// anything here, and that is checked against what was asked. Our own indices are kept privately
// and written out. They outlive a connection: the daemon that comes next goes on where the ring
// stands.
//
// Not thread-safe, HasAnswered excepted: guarded by the queue's lock.
#ifndef TMEM_CLIENT_FRONT_RING_H_
#define TMEM_CLIENT_FRONT_RING_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "hypercall/abi/tmemif.h"

namespace tmem::client {

class FrontRing {
 public:
  enum class Taken {
    kNothing,  // no response waits
    kResponse,
    kOverrun,  // the daemon claims to have answered what was not asked
  };

  // Begins an empty ring. REQUIRES: memory as SharedArea::Lay leaves it, of
  // TMEMIF_RING_BYTES(order).
  FrontRing(std::span<std::byte> memory, uint32_t order);

  uint32_t entries() const { return TMEMIF_RING_ENTRIES(order_); }
  uint32_t unanswered() const { return produced_ - consumed_; }
  bool full() const { return unanswered() == entries(); }
  // Indices of the next request and of the next response.
  uint32_t produced() const { return produced_; }
  uint32_t consumed() const { return consumed_; }

  // Shows the request to the daemon. True if the daemon wants a notification. REQUIRES: not full.
  bool Push(const tmemif_request& request);

  // Copies the next response out.
  Taken Take(tmemif_response& response);

  // Asks for a notification of the next response. True if one waits already: do not sleep.
  bool Arm();

  // Has the daemon shown more responses than `consumed`? For polling, from any thread.
  bool HasAnswered(uint32_t consumed) const;

 private:
  tmemif_ring& shared_;
  std::byte* const memory_;
  const uint32_t order_;
  uint32_t produced_ = 0;  // our req_prod
  uint32_t consumed_ = 0;
};

}  // namespace tmem::client

#endif  // TMEM_CLIENT_FRONT_RING_H_
