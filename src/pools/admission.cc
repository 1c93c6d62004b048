#include "pools/admission.h"

#include <algorithm>

namespace tmem {

namespace {
// Entitlements of policies that learn move in small steps: that alone makes nobody shrink.
constexpr uint64_t kSlackFraction = 16;
}  // namespace

std::optional<Refusal> RefusePersistent(const Claim& claim, const Allotment& allotment,
                                        const HostMemory& host) {
  if (host.persistent >= host.capacity) return Refusal::kCapacity;
  if (claim.persistent < claim.terms.reserve) return std::nullopt;
  if (claim.persistent >= claim.terms.cap) return Refusal::kCap;
  if (claim.persistent >= allotment.entitled()) return Refusal::kEntitlement;
  if (host.promised >= host.capacity) return Refusal::kReserves;
  return std::nullopt;
}

bool HoldsTooMuch(const Claim& claim, const Allotment& allotment) {
  const uint64_t entitled = allotment.entitled();
  return claim.persistent > claim.terms.reserve &&
         claim.persistent > entitled + entitled / kSlackFraction;
}

uint32_t MissingTo(const Claim& claim, const Allotment& allotment) {
  uint64_t due = claim.terms.reserve;
  if (claim.wants_more) {
    due = std::max(due, std::min<uint64_t>(allotment.entitled(), claim.terms.cap));
  }
  return due > claim.persistent ? static_cast<uint32_t>(due - claim.persistent) : 0;
}

std::optional<Refusal> AtOwnLimit(const Claim& claim, const Allotment& allotment) {
  const uint64_t held = uint64_t{claim.persistent} + claim.ephemeral;
  if (held >= claim.terms.cap) return Refusal::kCap;
  if (held >= allotment.total) return Refusal::kEntitlement;
  return std::nullopt;
}

EvictionRank RankByShare(const Claim& claim, const Allotment& allotment) {
  return {.amount = claim.ephemeral, .weight = allotment.ephemeral_weight};
}

EvictionRank RankByAge(const Claim& claim) { return {.amount = UINT64_MAX - claim.oldest}; }

uint32_t EphemeralShare(std::span<const Claim> claims, std::span<const Allotment> allotments,
                        const HostMemory& host, size_t self) {
  if (host.persistent >= host.capacity) return 0;
  std::vector<Demand> demands(claims.size());
  for (size_t i = 0; i < claims.size(); ++i) {
    demands[i] = {.weight = allotments[i].ephemeral_weight, .most = claims[i].ephemeral};
  }
  demands[self].most = kNoLimit;
  return WeightedMaxMin(host.capacity - host.persistent, demands)[self];
}

std::vector<uint32_t> WeightedMaxMin(uint32_t amount, std::span<const Demand> demands) {
  std::vector<uint32_t> parts(demands.size(), 0);
  std::vector<size_t> order;
  uint64_t weights = 0;
  for (size_t i = 0; i < demands.size(); ++i) {
    if (demands[i].weight == 0) continue;
    order.push_back(i);
    weights += demands[i].weight;
  }
  std::ranges::sort(order, [&](size_t a, size_t b) {
    const uint64_t left = uint64_t{demands[a].most} * demands[b].weight;
    const uint64_t right = uint64_t{demands[b].most} * demands[a].weight;
    return left != right ? left < right : a < b;
  });

  // First those who want no more than their part of what is left.
  using Wide = unsigned __int128;
  uint64_t left = amount;
  size_t next = 0;
  for (; next < order.size(); ++next) {
    const Demand& demand = demands[order[next]];
    if (Wide{demand.most} * weights > Wide{left} * demand.weight) break;
    parts[order[next]] = demand.most;
    left -= demand.most;
    weights -= demand.weight;
  }

  const std::span<size_t> rest = std::span(order).subspan(next);
  uint64_t given = 0;
  for (const size_t i : rest) {
    parts[i] = static_cast<uint32_t>(left * demands[i].weight / weights);
    given += parts[i];
  }
  std::ranges::sort(rest, [&](size_t a, size_t b) {
    return demands[a].weight != demands[b].weight ? demands[a].weight > demands[b].weight : a < b;
  });
  for (size_t i = 0; i < rest.size() && given < left; ++i, ++given) ++parts[rest[i]];
  return parts;
}

}  // namespace tmem
