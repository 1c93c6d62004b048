// What policies that learn remember: each claimant's target, in fractions of segments.
//
// Plain values. Claimants are known by their tenant numbers, not by their places among the claims.
#ifndef TMEM_POOLS_TARGETS_H_
#define TMEM_POOLS_TARGETS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "pools/admission.h"

namespace tmem {

struct Target {
  uint64_t tenant = 0;
  double segments = 0;
  double gain = 0;  // what one segment more would save a second, of late; if the policy asks
};

// Which claimants have a target.
using TakesPart = bool (*)(const Claim&);

// The claimants' targets, by their places: as last known; a newcomer begins with its part by
// weight; who takes no part has none. Together they exceed the capacity in no case.
std::vector<Target> TargetsNow(const HostMemory& host, std::span<const Claim> claims,
                               std::span<const Target> known, TakesPart takes_part);

// Scales targets down in proportion if they exceed the capacity.
void FitInto(double capacity, std::span<Target> targets);

double WeightsOf(std::span<const Claim> claims, TakesPart takes_part);

}  // namespace tmem

#endif  // TMEM_POOLS_TARGETS_H_
