#include "hypercall/xen/grant_mapping.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "base/units.h"

namespace tmem::xen {

Result<std::unique_ptr<SharedPages>> GrantMapping::Map(GuestId guest,
                                                       std::span<const GrantRef> refs) {
  Logger logger = QuietLogger();
  GrantHandle handle(xengnttab_open(logger.get(), 0));
  if (!handle) return std::unexpected(SystemError("cannot open /dev/xen/gntdev"));
  std::vector<uint32_t> numbers;
  numbers.reserve(refs.size());
  for (const GrantRef ref : refs) numbers.push_back(ref.value);
  void* const pages =
      xengnttab_map_domain_grant_refs(handle.get(), static_cast<uint32_t>(numbers.size()),
                                      guest.value, numbers.data(), PROT_READ | PROT_WRITE);
  if (pages == nullptr) {
    const int error_number = errno;
    return std::unexpected(SystemError(
        fmt::format("cannot map {} grants of guest {}", refs.size(), guest.value), error_number));
  }
  return std::unique_ptr<SharedPages>(
      new GrantMapping(std::move(logger), std::move(handle),
                       {static_cast<std::byte*>(pages), refs.size() * kPageSize}));
}

GrantMapping::~GrantMapping() {
  const auto pages = static_cast<uint32_t>(bytes_.size() / kPageSize);
  if (xengnttab_unmap(handle_.get(), bytes_.data(), pages) != 0) {
    spdlog::error("cannot unmap {} pages of a guest: {}", pages, std::strerror(errno));
  }
}

}  // namespace tmem::xen
