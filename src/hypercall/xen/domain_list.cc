#include "hypercall/xen/domain_list.h"

#include <array>
#include <cstdint>
#include <span>

namespace tmem::xen {

namespace {

constexpr uint32_t kDomainsAtOnce = 64;

// Xen keeps the 16 bytes in the order in which they are written.
Uuid UuidOf(const xen_domain_handle_t& handle) {
  Uuid uuid;
  for (size_t i = 0; i < sizeof(xen_domain_handle_t); ++i) {
    uint64_t& word = uuid.words[i / sizeof(uint64_t)];
    word = word << 8 | handle[i];
  }
  return uuid;
}

bool IsGuest(const xc_domaininfo_t& info) {
  return info.domain != 0 && (info.flags & (XEN_DOMINF_dying | XEN_DOMINF_xs_domain)) == 0;
}

}  // namespace

Result<std::vector<Domain>> ListDomains(xc_interface* control) {
  std::vector<Domain> domains;
  std::array<xc_domaininfo_t, kDomainsAtOnce> infos;
  uint32_t first = 0;
  for (;;) {
    const int count = xc_domain_getinfolist(control, first, kDomainsAtOnce, infos.data());
    if (count < 0) return std::unexpected(SystemError("cannot list Xen's domains"));
    for (const xc_domaininfo_t& info : std::span(infos).first(static_cast<size_t>(count))) {
      if (IsGuest(info)) {
        domains.push_back(
            {GuestId{info.domain}, UuidOf(info.handle), Bytes(info.tot_pages * XC_PAGE_SIZE)});
      }
      first = info.domain + 1u;
    }
    if (static_cast<uint32_t>(count) < kDomainsAtOnce) return domains;
  }
}

}  // namespace tmem::xen
