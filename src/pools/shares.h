// A guest's share of the store's memory, in figures that explain themselves: what it is entitled
// to and how that came about, why puts were refused, and why pages were evicted.
//
// Plain data. Decisions are made in whole segments; so are these figures, in bytes.
#ifndef TMEM_POOLS_SHARES_H_
#define TMEM_POOLS_SHARES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/units.h"
#include "pools/settings.h"

namespace tmem {

// Why a put was not stored.
enum class Refusal : uint8_t {
  kFrozen,       // the guest is frozen
  kCap,          // the guest's own cap
  kEntitlement,  // its persistent pages hold what the policy entitles them to
  kReserves,     // what is left of the capacity is reserved for other guests
  kCapacity,     // the capacity is all taken by pages that may not be evicted
};
inline constexpr size_t kRefusals = 5;

// Why a segment of ephemeral pages was evicted.
enum class Eviction : uint8_t {
  kOverShare,   // for ephemeral pages of a claimant further below its share
  kReplaced,    // for newer ephemeral pages of its own
  kPersistent,  // for persistent pages, anybody's
  kCap,         // the guest's own cap
  kShrunk,      // the capacity was lowered
};
inline constexpr size_t kEvictions = 5;

template <class Reason, size_t n>
struct Tally {
  std::array<uint64_t, n> counts{};  // by reason
  std::optional<Reason> last;

  uint64_t of(Reason reason) const { return counts[static_cast<size_t>(reason)]; }
  void Add(Reason reason) {
    ++counts[static_cast<size_t>(reason)];
    last = reason;
  }
};

// Puts that were refused; one that lacks memory in two respects counts under the first that its
// way meets: frozen, cap, entitlement, reserves, capacity.
using RefusalTally = Tally<Refusal, kRefusals>;
using EvictionTally = Tally<Eviction, kEvictions>;  // in segments

struct GuestShare {
  PolicyKind policy = PolicyKind::kMaxMin;
  uint32_t weight = 0;
  uint64_t weights = 0;  // of all guests together

  // Persistent pages: held may grow to entitled = reserve + for_surrendered + of_unclaimed, but
  // never beyond the cap.
  Bytes persistent_held;
  Bytes entitled;
  Bytes reserve;
  Bytes for_surrendered;  // surrendered x percent, less if the host has not so much
  Bytes of_unclaimed;     // its part of what nobody else claims
  Bytes unclaimed;        // what there is of that: the capacity without reserves and surrendered
  Bytes surrendered;      // as observed
  uint32_t surrender_percent = 100;
  bool wants_more = false;  // puts were refused lately; who does not want its part lends it

  // Ephemeral pages: held above the share are the first to be evicted.
  Bytes ephemeral_held;
  Bytes ephemeral_share;

  RefusalTally refusals;
  EvictionTally evictions;
};

}  // namespace tmem

#endif  // TMEM_POOLS_SHARES_H_
