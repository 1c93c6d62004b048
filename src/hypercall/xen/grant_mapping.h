// The SharedPages of transport.h: a guest's grants, mapped with libxengnttab.
//
// Each mapping has a handle of its own, for a handle is one thread's at a time and mappings go to
// different workers. Unmapped pages are what lets a dead guest's memory return to the host.
#ifndef TMEM_HYPERCALL_XEN_GRANT_MAPPING_H_
#define TMEM_HYPERCALL_XEN_GRANT_MAPPING_H_

#include <cstddef>
#include <memory>
#include <span>

#include "base/result.h"
#include "hypercall/transport.h"
#include "hypercall/xen/handles.h"

namespace tmem::xen {

class GrantMapping final : public SharedPages {
 public:
  // REQUIRES: refs not empty.
  static Result<std::unique_ptr<SharedPages>> Map(GuestId guest, std::span<const GrantRef> refs);
  ~GrantMapping() override;

  std::span<std::byte> bytes() const override { return bytes_; }

 private:
  GrantMapping(Logger logger, GrantHandle handle, std::span<std::byte> bytes)
      : logger_(std::move(logger)), handle_(std::move(handle)), bytes_(bytes) {}

  const Logger logger_;
  const GrantHandle handle_;
  const std::span<std::byte> bytes_;
};

}  // namespace tmem::xen

#endif  // TMEM_HYPERCALL_XEN_GRANT_MAPPING_H_
