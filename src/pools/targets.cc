#include "pools/targets.h"

#include <algorithm>

namespace tmem {

double WeightsOf(std::span<const Claim> claims, TakesPart takes_part) {
  double sum = 0;
  for (const Claim& claim : claims) sum += takes_part(claim) ? claim.terms.weight : 0;
  return sum;
}

void FitInto(double capacity, std::span<const Claim> claims, std::span<Target> targets) {
  // Whom scaling would bring below its reserve keeps that, and the others are scaled further.
  std::vector<bool> at_reserve(targets.size(), false);
  double factor = 1;
  for (bool again = true; again;) {
    double left = capacity;
    double scaled = 0;
    for (size_t i = 0; i < targets.size(); ++i) {
      if (at_reserve[i]) {
        left -= claims[i].terms.reserve;
      } else {
        scaled += targets[i].segments;
      }
    }
    left = std::max(left, 0.0);
    if (scaled <= left) return;
    factor = left / scaled;
    again = false;
    for (size_t i = 0; i < targets.size(); ++i) {
      const uint32_t reserve = claims[i].terms.reserve;
      if (at_reserve[i] || targets[i].segments * factor >= reserve) continue;
      at_reserve[i] = again = true;
      targets[i].segments = reserve;
    }
  }
  for (size_t i = 0; i < targets.size(); ++i) {
    if (!at_reserve[i]) targets[i].segments *= factor;
  }
}

std::vector<Target> TargetsNow(const HostMemory& host, std::span<const Claim> claims,
                               std::span<const Target> known, TakesPart takes_part) {
  std::vector<Target> targets(claims.size());
  const double weights = WeightsOf(claims, takes_part);
  for (size_t i = 0; i < claims.size(); ++i) {
    targets[i].tenant = claims[i].tenant;
    if (!takes_part(claims[i])) continue;
    if (i < known.size() && known[i].tenant == claims[i].tenant) {
      targets[i] = known[i];
    } else {
      targets[i].segments = double{1} * host.capacity * claims[i].terms.weight / weights;
    }
    const Terms& terms = claims[i].terms;
    targets[i].segments = std::clamp<double>(targets[i].segments, terms.reserve, terms.cap);
  }
  FitInto(host.capacity, claims, targets);
  return targets;
}

}  // namespace tmem
