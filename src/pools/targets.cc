#include "pools/targets.h"

namespace tmem {

double WeightsOf(std::span<const Claim> claims, TakesPart takes_part) {
  double sum = 0;
  for (const Claim& claim : claims) sum += takes_part(claim) ? claim.terms.weight : 0;
  return sum;
}

void FitInto(double capacity, std::span<Target> targets) {
  double sum = 0;
  for (const Target& target : targets) sum += target.segments;
  if (sum <= capacity) return;
  for (Target& target : targets) target.segments *= capacity / sum;
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
  }
  FitInto(host.capacity, targets);
  return targets;
}

}  // namespace tmem
