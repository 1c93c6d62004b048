// What a backend can do wrong. Each deed is committed once the frontend has been served well for a
// while, so that it has pages here and requests under way.
#ifndef TMEM_LAB_EVIL_BACKEND_DEEDS_H_
#define TMEM_LAB_EVIL_BACKEND_DEEDS_H_

#include <cstdint>
#include <span>
#include <string_view>

#include "hypercall/abi/tmemif.h"

namespace tmem::lab {

struct Deed {
  std::string_view name;
  // Spoils a response to the request; absent: responses are left as they are.
  void (*spoil)(tmemif_response& response, const tmemif_request& request) = nullptr;
  // Spoils the ring's header after responses were shown.
  void (*spoil_ring)(tmemif_ring& ring, uint32_t order) = nullptr;
  bool silent = false;  // answers nothing any more
  bool storms = false;  // notifies without end
  bool leaves = false;  // says Closed, without having been asked, and unmaps
  // A key of the backend's directory with this value, from the start.
  std::string_view key = {};
  std::string_view value = {};
};

std::span<const Deed> Deeds();
const Deed* FindDeed(std::string_view name);

}  // namespace tmem::lab

#endif  // TMEM_LAB_EVIL_BACKEND_DEEDS_H_
