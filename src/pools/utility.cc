#include "pools/utility.h"

#include <algorithm>
#include <cmath>

namespace tmem {

namespace {

// Ephemeral weights are whole numbers: so many to a segment.
constexpr double kWeightPerSegment = 16;
constexpr double kHeadroom = 0.125;

bool HasTarget(const Claim& claim) { return claim.terms.weight > 0; }

// What a claimant holds, and some more so that it need not ask at once.
double UsedBy(const Claim& claim) {
  const double held = double{1} * claim.persistent + claim.ephemeral;
  return held * (1 + kHeadroom) + 1;
}

// One that may give or take.
struct Party {
  size_t index;
  double worth;  // saved by one segment more, times weight
  double spare;  // above its floor
  double room;   // below its cap, at most a step
};

// From those who come last to those who come first. REQUIRES: sorted, the most worth first.
void Move(std::span<Party> parties, std::span<Target> targets) {
  size_t to = 0;
  size_t from = parties.size();
  while (from > to + 1) {
    Party& taker = parties[to];
    Party& giver = parties[from - 1];
    if (taker.worth <= giver.worth * Utility::kMargin) return;
    const double amount = std::min(taker.room, giver.spare);
    targets[taker.index].segments += amount;
    targets[giver.index].segments -= amount;
    taker.room -= amount;
    giver.spare -= amount;
    if (taker.room <= giver.spare) {
      ++to;
    } else {
      --from;
    }
  }
}

}  // namespace

void Utility::Allot(const HostMemory& host, std::span<const Claim> claims,
                    std::span<Allotment> allotments) const {
  const auto targets = TargetsNow(host, claims, targets_, HasTarget);
  for (size_t i = 0; i < claims.size(); ++i) {
    const Terms& terms = claims[i].terms;
    const double target = targets[i].segments;
    const auto whole = static_cast<uint32_t>(target);
    const double left = std::max(0.0, target - claims[i].persistent) * kWeightPerSegment;
    allotments[i] = {
        .reserve = terms.reserve,
        .share = terms.has_persistent && whole > terms.reserve ? whole - terms.reserve : 0,
        .ephemeral_weight = static_cast<uint32_t>(std::min<double>(left, INT32_MAX))};
    // All but those who are on their way out can hold something.
    if (terms.weight > 0) allotments[i].ephemeral_weight += 1;
  }
}

std::shared_ptr<const Policy> Utility::Learn(const HostMemory& host, std::span<const Claim> claims,
                                             std::span<const Observation> observations,
                                             std::chrono::duration<double> interval) const {
  auto targets = TargetsNow(host, claims, targets_, HasTarget);
  const double weights = WeightsOf(claims, HasTarget);
  const double step = host.capacity * kStep;
  std::vector<Party> parties;
  for (size_t i = 0; i < claims.size(); ++i) {
    if (!HasTarget(claims[i])) continue;
    const Terms& terms = claims[i].terms;
    Target& target = targets[i];
    const double news = observations[i].saved.value_or(0) / interval.count();
    target.gain += (news - target.gain) * kNewsWeight;
    const double part = double{1} * host.capacity * terms.weight / weights;
    double floor = std::max<double>(terms.reserve, part * kFloor);
    if (!observations[i].saved) floor = std::max(floor, UsedBy(claims[i]));
    parties.push_back({.index = i,
                       .worth = target.gain * terms.weight,
                       .spare = std::clamp(target.segments - floor, 0.0,
                                           std::min(step, target.segments * kGiven)),
                       .room = std::clamp(terms.cap - target.segments, 0.0, step)});
  }
  std::ranges::sort(parties, [](const Party& a, const Party& b) {
    return a.worth != b.worth ? a.worth > b.worth : a.index < b.index;
  });
  Move(parties, targets);
  return std::shared_ptr<const Policy>(new Utility(std::move(targets)));
}

}  // namespace tmem
