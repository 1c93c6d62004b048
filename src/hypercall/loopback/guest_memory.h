// The memory that a loopback guest offers, and mappings of its pages.
//
// Checked once, when it is offered, so that nothing the guest does later can make a mapped page
// fault: it is a memfd (tmpfs, not huge pages, whose pool can run dry), and sealed against
// shrinking. Seals never come off. The guest may still punch holes; those read as zeros.
//
// Threads: Map may be called from any thread; the memory stays until its last mapping goes.
#ifndef TMEM_HYPERCALL_LOOPBACK_GUEST_MEMORY_H_
#define TMEM_HYPERCALL_LOOPBACK_GUEST_MEMORY_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"
#include "base/unique_fd.h"
#include "hypercall/transport.h"

namespace tmem::loopback {

class GuestMemory : public std::enable_shared_from_this<GuestMemory> {
 public:
  // kInvalid, with the rule that the descriptor breaks.
  static Result<std::shared_ptr<GuestMemory>> Adopt(UniqueFd memfd);

  // As Hypervisor::Map. kInvalid for a reference that is none of this memory; kExhausted when the
  // pages lie so scattered that mapping them would use up the process's mappings.
  Result<std::unique_ptr<SharedPages>> Map(std::span<const GrantRef> refs);

  uint32_t page_count() const { return page_count_; }

 private:
  class Mapping;
  GuestMemory(UniqueFd memfd, uint32_t page_count);

  const UniqueFd memfd_;
  const uint32_t page_count_;
  std::atomic<uint32_t> runs_{0};  // contiguous runs mapped now
};

}  // namespace tmem::loopback

#endif  // TMEM_HYPERCALL_LOOPBACK_GUEST_MEMORY_H_
