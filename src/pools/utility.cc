#include "pools/utility.h"

#include <algorithm>
#include <functional>

namespace tmem {

namespace {

// Ephemeral weights are whole numbers: so many to a segment.
constexpr double kWeightPerSegment = 16;

bool HasTarget(const Claim& claim) { return claim.terms.weight > 0; }

// What one keeps that lost nothing: so much more than it holds that it need not ask at once.
double KeptOf(uint32_t held, double step) { return MostFor(held, std::min(step, held * 0.125)); }

// One that may take, or give.
struct Party {
  Target* target;
  double worth = 0;  // of one segment more, times weight
  double cost = 0;   // of one segment less; at least the worth
  double spare = 0;  // above its floor
  double room = 0;   // below what it may have, at most a step
};

// Who gains most takes from who loses least: `unused` segments first, which cost nobody anything.
void Move(std::vector<Party> takers, double unused) {
  Target nobody;
  std::vector<Party> givers = takers;
  givers.push_back({.target = &nobody, .cost = -1, .spare = unused});
  std::ranges::stable_sort(takers, std::greater(), &Party::worth);
  std::ranges::stable_sort(givers, std::less(), &Party::cost);
  auto taker = takers.begin();
  auto giver = givers.begin();
  while (taker != takers.end() && giver != givers.end()) {
    if (taker->worth <= giver->cost * Utility::kMargin) return;
    const double amount = std::min(taker->room, giver->spare);
    taker->target->segments += amount;
    giver->target->segments -= amount;
    taker->room -= amount;
    giver->spare -= amount;
    if (taker->room <= giver->spare) {
      ++taker;
    } else {
      ++giver;
    }
  }
}

// Once the target has moved.
void SetPace(Target& target, const Target& before) {
  const double moved = target.segments - before.segments;
  if (moved == 0) return;
  if (moved * target.moved > 0) target.pace *= Utility::kFaster;
  if (moved * target.moved < 0) target.pace *= Utility::kSlower;
  target.pace = std::clamp(target.pace, Utility::kLeastPace, Utility::kMostPace);
  target.moved = moved;
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
  const auto before = TargetsNow(host, claims, targets_, HasTarget);
  const double weights = WeightsOf(claims, HasTarget);
  auto targets = before;
  std::vector<Party> parties;
  double unused = host.capacity;
  for (size_t i = 0; i < claims.size(); ++i) {
    if (!HasTarget(claims[i])) continue;
    const Terms& terms = claims[i].terms;
    Target& target = targets[i];
    const double news = observations[i].saved.value_or(0) / interval.count();
    target.gain += (news - target.gain) * kNewsWeight;
    const double step = host.capacity * kStep * target.pace;
    const double given = std::min(step, target.segments * kGiven * target.pace);
    const uint32_t held = claims[i].persistent + claims[i].ephemeral;
    const double most = std::min<double>(terms.cap, MostFor(held, step));
    const double part = double{1} * host.capacity * terms.weight / weights;
    double floor = std::max<double>(terms.reserve, part * kFloor);
    if (!observations[i].saved) floor = std::max(floor, KeptOf(held, host.capacity * kStep));
    parties.push_back({.target = &target,
                       .worth = std::min(target.gain, news) * terms.weight,
                       .cost = std::max(target.gain, news) * terms.weight,
                       .spare = std::clamp(target.segments - floor, 0.0, given),
                       .room = std::clamp(most - target.segments, 0.0, step)});
    unused -= target.segments;
  }
  Move(std::move(parties), std::max(unused, 0.0));
  for (size_t i = 0; i < targets.size(); ++i) SetPace(targets[i], before[i]);
  return std::shared_ptr<const Policy>(new Utility(std::move(targets)));
}

}  // namespace tmem
