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
  // If the policy asks:
  double gain = 0;   // what one segment more would save a second, of late
  double moved = 0;  // by how much, when it moved last
  double pace = 1;   // how fast it moves
};

// Which claimants have a target.
using TakesPart = bool (*)(const Claim&);

// The claimants' targets, by their places: as last known; a newcomer begins with its part by
// weight; who takes no part has none. Each is at least the claimant's reserve and at most its cap,
// and together they do not exceed the capacity (unless reserves do): all can be had at once.
std::vector<Target> TargetsNow(const HostMemory& host, std::span<const Claim> claims,
                               std::span<const Target> known, TakesPart takes_part);

// Scales targets down if they exceed the capacity: in proportion, but none below its reserve.
// REQUIRES: each target is at least the claimant's reserve.
void FitInto(double capacity, std::span<const Claim> claims, std::span<Target> targets);

// How far the target of one that holds `held` segments may be raised, by `step` at once: until it
// can take one segment and one step more. What is in the way of a target (pages that others have
// yet to flush, others' reserves) is not overcome by raising it further; that would have to be
// lowered again before anybody noticed, and so targets would swing for good. Known in control as
// integrator windup, and this as its remedy: Astrom and Hagglund, PID Controllers (1995), 3.5.
inline double MostFor(uint32_t held, double step) { return held + 1 + step; }

double WeightsOf(std::span<const Claim> claims, TakesPart takes_part);

}  // namespace tmem

#endif  // TMEM_POOLS_TARGETS_H_
