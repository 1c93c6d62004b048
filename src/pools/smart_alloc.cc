#include "pools/smart_alloc.h"

#include <algorithm>

namespace tmem {

namespace {

bool HasTarget(const Claim& claim) { return claim.terms.has_persistent && claim.terms.weight > 0; }

}  // namespace

void SmartAlloc::Allot(const HostMemory& host, std::span<const Claim> claims,
                       std::span<Allotment> allotments) const {
  const auto targets = TargetsNow(host, claims, targets_, HasTarget);
  for (size_t i = 0; i < claims.size(); ++i) {
    const Terms& terms = claims[i].terms;
    const auto target = static_cast<uint32_t>(targets[i].segments);
    allotments[i] = {.reserve = terms.reserve,
                     .share = target > terms.reserve ? target - terms.reserve : 0,
                     .ephemeral_weight = terms.weight};
  }
}

std::shared_ptr<const Policy> SmartAlloc::Learn(const HostMemory& host,
                                                std::span<const Claim> claims,
                                                std::span<const Observation> observations,
                                                std::chrono::duration<double>) const {
  auto targets = TargetsNow(host, claims, targets_, HasTarget);
  double weights = 0;  // of those who ask for more
  for (size_t i = 0; i < claims.size(); ++i) {
    if (HasTarget(claims[i]) && observations[i].refused > 0) weights += claims[i].terms.weight;
  }
  const double step = host.capacity * kStep;
  for (size_t i = 0; i < claims.size(); ++i) {
    const Claim& claim = claims[i];
    if (!HasTarget(claim)) continue;
    double& target = targets[i].segments;
    if (observations[i].refused > 0) {
      const double more = step * claim.terms.weight / weights;
      const double most = std::min<double>(claim.terms.cap, MostFor(claim.persistent, more));
      target = std::max(target, std::min(target + more, most));
    } else if (target - claim.persistent > step) {
      target = std::max<double>(target - target * kStep, claim.terms.reserve);
    }
  }
  FitInto(host.capacity, claims, targets);
  return std::shared_ptr<const Policy>(new SmartAlloc(std::move(targets)));
}

}  // namespace tmem
