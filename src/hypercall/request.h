// What a correct frontend can send: the check that every request passes before it is executed.
#ifndef TMEM_HYPERCALL_REQUEST_H_
#define TMEM_HYPERCALL_REQUEST_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "hypercall/abi/tmemif.h"

namespace tmem {

// What the handshake agreed on.
struct Agreement {
  uint32_t slot_count = 0;
  bool may_post = false;
};

// Why the request breaks the protocol, or nullopt if it is well formed. An operation that this
// version does not know is well formed: it is answered -ENOSYS. docs/protocol.md lists each rule.
std::optional<std::string_view> FindViolation(const tmemif_request& request,
                                              const Agreement& agreement);

}  // namespace tmem

#endif  // TMEM_HYPERCALL_REQUEST_H_
