// The evil backend's store: as much of a store as a frontend needs to swap to it. Pools are never
// full, pages are never compressed, and nothing is checked.
#ifndef TMEM_LAB_EVIL_BACKEND_PAGE_MAP_H_
#define TMEM_LAB_EVIL_BACKEND_PAGE_MAP_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>

#include "base/units.h"
#include "hypercall/abi/tmemif.h"

namespace tmem::lab {

class PageMap {
 public:
  // Executes the request as docs/protocol.md says.
  tmemif_response Execute(const tmemif_request& request, std::span<std::byte> slots);

 private:
  struct Handle {
    uint32_t pool;
    std::array<uint64_t, 3> oid;
    uint32_t index;
    auto operator<=>(const Handle&) const = default;
  };

  bool PageOperation(uint8_t operation, const Handle& handle, std::byte* slot);

  uint32_t pools_ = 0;
  std::map<Handle, std::array<std::byte, kPageSize>> pages_;
};

}  // namespace tmem::lab

#endif  // TMEM_LAB_EVIL_BACKEND_PAGE_MAP_H_
