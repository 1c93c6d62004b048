#include "hypercall/xenbus.h"

#include <fmt/format.h>

#include "hypercall/transport.h"

namespace tmem {

XenbusState ParseXenbusState(std::string_view text) {
  if (text.size() != 1 || text[0] < '1' || text[0] > '6') return XenbusState::kUnknown;
  return static_cast<XenbusState>(text[0] - '0');
}

std::string ToNode(XenbusState state) { return fmt::format("{}", static_cast<int>(state)); }

std::string FrontendPath(GuestId guest) {
  return fmt::format("/local/domain/{}/device/tmem/0", guest.value);
}

std::string BackendPath(GuestId guest) {
  return fmt::format("/local/domain/{}/backend/tmem/{}/0", kBackendDomain.value, guest.value);
}

}  // namespace tmem
