#include "deeds.h"

#include <algorithm>
#include <array>
#include <atomic>

namespace tmem::lab {

namespace {

void MoveResponses(tmemif_ring& ring, uint32_t by) {
  std::atomic_ref<uint32_t>(ring.rsp_prod).fetch_add(by, std::memory_order_release);
}

constexpr std::array kDeeds = {
    Deed{.name = "wrong-id", .spoil = [](tmemif_response& r, const tmemif_request&) { r.id ^= 1; }},
    Deed{.name = "unknown-error",
         .spoil = [](tmemif_response& r, const tmemif_request&) { r.status = -12345; }},
    Deed{.name = "too-many-pages",
         .spoil =
             [](tmemif_response& r, const tmemif_request& request) {
               r.status = static_cast<int32_t>(request.u.page.nr_pages) + 1;
               r.done = ~uint64_t{0};
             }},
    Deed{.name = "done-and-status-differ",
         .spoil = [](tmemif_response& r, const tmemif_request&) { r.done ^= 1; }},
    Deed{.name = "huge-status",
         .spoil = [](tmemif_response& r, const tmemif_request&) { r.status = INT32_MAX; }},
    Deed{.name = "nothing-is-found",
         .spoil =
             [](tmemif_response& r, const tmemif_request& request) {
               if (request.op != TMEMIF_OP_GET_PAGE) return;
               r.status = 0;
               r.done = 0;
             }},
    Deed{.name = "responses-from-nowhere",
         .spoil_ring = [](tmemif_ring& ring, uint32_t) { MoveResponses(ring, 3); }},
    Deed{.name = "ring-overrun",
         .spoil_ring = [](tmemif_ring& ring,
                          uint32_t order) { MoveResponses(ring, TMEMIF_RING_ENTRIES(order) + 1); }},
    Deed{.name = "responses-taken-back",
         .spoil_ring = [](tmemif_ring& ring, uint32_t) { MoveResponses(ring, ~uint32_t{0}); }},
    Deed{.name = "silence", .silent = true},
    Deed{.name = "event-storm", .storms = true},
    Deed{.name = "leaves", .leaves = true},
    Deed{.name = "no-queues", .key = "max-queues", .value = "0"},
    Deed{.name = "no-slots", .key = "max-slots", .value = "0"},
    Deed{.name = "many-slots", .key = "max-slots", .value = "4294967295"},
    Deed{.name = "huge-ring", .key = "max-ring-page-order", .value = "31"},
    Deed{.name = "huge-batch", .key = "max-batch", .value = "65536"},
    Deed{.name = "words-for-numbers", .key = "max-batch", .value = "many"},
    Deed{.name = "unknown-version", .key = "versions", .value = "2 3"},
};

}  // namespace

std::span<const Deed> Deeds() { return kDeeds; }

const Deed* FindDeed(std::string_view name) {
  const auto at = std::ranges::find(kDeeds, name, &Deed::name);
  return at == kDeeds.end() ? nullptr : &*at;
}

}  // namespace tmem::lab
