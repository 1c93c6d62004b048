// What a frontend offers when it says Initialised: its keys, its directory pages, its grants.
//
// All of it was written by a guest. Every number is read once, checked against what we announced,
// and only then used. kInvalid, from here or from the hypervisor, means that the frontend broke the
// protocol; any other error, that we could not serve it now.
#ifndef TMEM_HYPERCALL_HANDSHAKE_H_
#define TMEM_HYPERCALL_HANDSHAKE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "hypercall/queue.h"
#include "hypercall/transport.h"

namespace tmem {

// What the backend announces, and enforces.
struct WireLimits {
  uint32_t max_queues = 4;
  uint32_t max_ring_page_order = 4;
  uint32_t max_slots = 512;  // a queue
};

// A frontend's keys, checked.
struct Offer {
  struct QueueKeys {
    GrantRef directory;
    EventPort port;
  };
  uint32_t ring_page_order = 0;
  uint32_t slot_count = 0;
  bool may_post = false;
  std::vector<QueueKeys> queues;
};

Result<Offer> ReadOffer(Directory& directory, const std::string& frontend_path,
                        const WireLimits& limits);

// Maps the queues of the offer and binds their channels: all or nothing.
Result<std::vector<Queue::Parts>> MapOffer(Hypervisor& hypervisor, GuestId guest,
                                           const Offer& offer);

}  // namespace tmem

#endif  // TMEM_HYPERCALL_HANDSHAKE_H_
