#include "hypercall/xen/physical_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string>
#include <system_error>
#include <vector>

namespace tmem::xen {

namespace {

constexpr std::string_view kStaticMaxPath = "/local/domain/0/memory/static-max";
// As libxl has it: what Xen counts for a domain beyond its memory.
constexpr uint64_t kBeyondTargetKib = 1024;

// Of a limit that is none, as much as fits.
Bytes BytesOfPages(uint64_t pages) {
  return Bytes(std::min(pages, UINT64_MAX / kPageSize) * kPageSize);
}

Result<xc_domaininfo_t> Dom0(xc_interface* control) {
  xc_domaininfo_t info{};
  if (xc_domain_getinfolist(control, kBackendDomain.value, 1, &info) != 1 ||
      info.domain != kBackendDomain.value) {
    return std::unexpected(SystemError("cannot read domain 0's memory"));
  }
  return info;
}

// kNotFound if there is no such key.
Result<Bytes> ReadKib(Directory& directory, const std::string& path) {
  const auto text = directory.Read(path);
  if (!text) return std::unexpected(text.error());
  uint64_t kib = 0;
  const char* const end = text->data() + text->size();
  const auto [rest, status] = std::from_chars(text->data(), end, kib);
  if (status != std::errc() || rest != end || kib > UINT64_MAX / 1024) {
    return Fail(ErrorCode::kInvalid, fmt::format("{}: '{}' is no number of KiB", path, *text));
  }
  return KiB(kib);
}

Result<Bytes> ReadKibOr(Directory& directory, std::string_view path, Bytes otherwise) {
  auto bytes = ReadKib(directory, std::string(path));
  return !bytes && bytes.error().code == ErrorCode::kNotFound ? otherwise : bytes;
}

}  // namespace

Result<PhysicalMemory> ReadPhysicalMemory(xc_interface* control, Directory& directory) {
  xc_physinfo_t host{};
  if (xc_physinfo(control, &host) != 0) {
    return std::unexpected(SystemError("cannot read the host's memory"));
  }
  const auto dom0 = Dom0(control);
  if (!dom0) return std::unexpected(dom0.error());
  // What is being scrubbed will be free; what is outstanding, domains claimed that are being built.
  const uint64_t free = host.free_pages + host.scrub_pages;
  PhysicalMemory memory{.free = BytesOfPages(free - std::min(free, host.outstanding_pages)),
                        .held = BytesOfPages(dom0->tot_pages),
                        .target = {},
                        .maximum = {}};
  TMEM_ASSIGN(memory.target, ReadKibOr(directory, kBackendTargetPath, memory.held));
  TMEM_ASSIGN(memory.maximum, ReadKibOr(directory, kStaticMaxPath, BytesOfPages(dom0->max_pages)));
  return memory;
}

Result<void> SetDom0Target(xc_interface* control, Directory& directory, Bytes target) {
  const auto dom0 = Dom0(control);
  if (!dom0) return std::unexpected(dom0.error());
  const uint64_t kib = target.value / 1024;
  if (BytesOfPages(dom0->max_pages) < target &&
      xc_domain_setmaxmem(control, kBackendDomain.value, kib + kBeyondTargetKib) != 0) {
    return std::unexpected(SystemError("cannot raise Xen's limit of domain 0's memory"));
  }
  std::vector<Directory::Node> nodes = {{.path = std::string(kBackendTargetPath),
                                         .value = fmt::format("{}", kib),
                                         .permissions = {}}};
  const auto static_max = directory.Read(std::string(kStaticMaxPath));
  if (!static_max && static_max.error().code == ErrorCode::kNotFound) {
    nodes.push_back({.path = std::string(kStaticMaxPath),
                     .value = fmt::format("{}", BytesOfPages(dom0->max_pages).value / 1024),
                     .permissions = {}});
  }
  return directory.WriteAll(nodes);
}

}  // namespace tmem::xen
