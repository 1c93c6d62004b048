#include "page_map.h"

#include <cstring>

namespace tmem::lab {

bool PageMap::PageOperation(uint8_t operation, const Handle& handle, std::byte* slot) {
  if (operation == TMEMIF_OP_PUT_PAGE) {
    std::memcpy(pages_[handle].data(), slot, kPageSize);
    return true;
  }
  if (operation == TMEMIF_OP_FLUSH_PAGE) {
    pages_.erase(handle);
    return true;
  }
  const auto at = pages_.find(handle);
  if (at == pages_.end()) return false;
  std::memcpy(slot, at->second.data(), kPageSize);
  return true;
}

tmemif_response PageMap::Execute(const tmemif_request& request, std::span<std::byte> slots) {
  tmemif_response response{.id = request.id, .reserved = 0, .status = 0, .done = 0};
  switch (request.op) {
    case TMEMIF_OP_NEW_POOL:
      response.status = static_cast<int32_t>(pools_++ % TMEMIF_MAX_POOLS);
      return response;
    case TMEMIF_OP_PUT_PAGE:
    case TMEMIF_OP_GET_PAGE:
    case TMEMIF_OP_FLUSH_PAGE:
      break;
    default:
      response.status = 1;
      return response;
  }
  const tmemif_page_args& args = request.u.page;
  Handle handle{request.pool, {}, args.index};
  std::memcpy(handle.oid.data(), &args.oid, sizeof(handle.oid));
  for (uint32_t k = 0; k < args.nr_pages; ++k, ++handle.index) {
    if (!PageOperation(request.op, handle, slots.data() + (args.slot + k) * kPageSize)) continue;
    ++response.status;
    response.done |= uint64_t{1} << k;
  }
  return response;
}

}  // namespace tmem::lab
