#include "hypercall/request.h"

#include <algorithm>
#include <iterator>

namespace tmem {

namespace {

using Violation = std::optional<std::string_view>;

template <size_t kCount>
bool AllZero(const uint64_t (&words)[kCount]) {
  return std::ranges::all_of(words, [](uint64_t word) { return word == 0; });
}

Violation FindPageViolation(const tmemif_request& request, const Agreement& agreement) {
  const tmemif_page_args& page = request.u.page;
  if (page.reserved0 != 0 || !AllZero(page.reserved1)) return "reserved fields are not zero";
  if (page.nr_pages == 0 || page.nr_pages > TMEMIF_MAX_BATCH) return "nr_pages is out of range";
  if (uint64_t{page.index} + page.nr_pages > uint64_t{1} << 32) return "index + nr_pages overflows";
  if (request.op == TMEMIF_OP_FLUSH_PAGE) {
    if (page.slot != 0) return "a flush names a data slot";
  } else if (uint64_t{page.slot} + page.nr_pages > agreement.slot_count) {
    return "data slots are out of range";
  }
  return std::nullopt;
}

Violation FindNewPoolViolation(const tmemif_request& request) {
  const tmemif_new_pool_args& args = request.u.new_pool;
  if (args.reserved0 != 0 || !AllZero(args.reserved1)) return "reserved fields are not zero";
  if (request.pool != 0) return "NEW_POOL names a pool";
  return std::nullopt;
}

}  // namespace

Violation FindViolation(const tmemif_request& request, const Agreement& agreement) {
  if ((request.flags & ~TMEMIF_REQ_POSTED) != 0) return "unknown request flags";
  if ((request.flags & TMEMIF_REQ_POSTED) != 0) {
    if (!agreement.may_post) return "posted without feature-posted-put";
    if (request.op != TMEMIF_OP_PUT_PAGE) return "only puts can be posted";
  }
  switch (request.op) {
    case TMEMIF_OP_PUT_PAGE:
    case TMEMIF_OP_GET_PAGE:
    case TMEMIF_OP_FLUSH_PAGE:
      return FindPageViolation(request, agreement);
    case TMEMIF_OP_NEW_POOL:
      return FindNewPoolViolation(request);
    case TMEMIF_OP_FLUSH_OBJECT:
      return AllZero(request.u.object.reserved) ? std::nullopt
                                                : Violation("reserved fields are not zero");
    case TMEMIF_OP_DESTROY_POOL:
      return AllZero(request.u.words) ? std::nullopt : Violation("reserved fields are not zero");
    default:
      return std::nullopt;
  }
}

}  // namespace tmem
