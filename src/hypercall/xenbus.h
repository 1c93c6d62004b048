// The vocabulary of xenbus, as far as tmem devices use it: states and paths.
#ifndef TMEM_HYPERCALL_XENBUS_H_
#define TMEM_HYPERCALL_XENBUS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/units.h"

namespace tmem {

// Xen's enum xenbus_state (public/io/xenbus.h).
enum class XenbusState : uint8_t {
  kUnknown = 0,
  kInitialising = 1,
  kInitWait = 2,
  kInitialised = 3,
  kConnected = 4,
  kClosing = 5,
  kClosed = 6,
};

// As it stands in a `state` node; kUnknown for anything that is not a state.
XenbusState ParseXenbusState(std::string_view text);
std::string ToNode(XenbusState state);

// The two directories of a guest's tmem device. There is one device a guest.
std::string FrontendPath(GuestId guest);  // /local/domain/<domid>/device/tmem/0
std::string BackendPath(GuestId guest);   // /local/domain/0/backend/tmem/<domid>/0

// The keys of tmemif.h that more than one file writes or reads.
namespace keys {
inline constexpr std::string_view kState = "state";
inline constexpr std::string_view kError = "error";       // backend: why it closed for good
inline constexpr std::string_view kStoreId = "store-id";  // backend: Store::id()
}  // namespace keys

}  // namespace tmem

#endif  // TMEM_HYPERCALL_XENBUS_H_
