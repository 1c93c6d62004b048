#include "pools/admission.h"

#include <algorithm>

namespace tmem {

bool MayTakePersistent(std::span<const Claim> claims, size_t self, uint32_t capacity) {
  uint64_t held = 0;
  uint64_t promised = 0;
  for (const Claim& claim : claims) {
    held += claim.persistent;
    promised += std::max(claim.persistent, claim.reserve);
  }
  if (held >= capacity) return false;
  if (claims[self].persistent < claims[self].reserve) return true;
  return promised < capacity;
}

std::optional<size_t> PickVictim(std::span<const Claim> claims, std::optional<size_t> taker) {
  const auto would_hold = [&](size_t i) {
    return uint64_t{claims[i].ephemeral} + (i == taker ? 1 : 0);
  };
  std::optional<size_t> victim;
  for (size_t i = 0; i < claims.size(); ++i) {
    if (claims[i].ephemeral == 0) continue;
    // held / weight compared by cross products: exact, and no division.
    if (!victim ||
        would_hold(i) * claims[*victim].weight > would_hold(*victim) * claims[i].weight) {
      victim = i;
    }
  }
  return victim;
}

}  // namespace tmem
