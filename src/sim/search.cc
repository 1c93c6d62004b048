#include "sim/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace tmem::sim {

namespace {

// Of the capacity; each is half of the one before.
constexpr double kFirstStep = 1.0 / 8;
constexpr double kLastStep = 1.0 / 32;
// A part that was moved to and fro is not quite what it was.
constexpr double kRounding = 1e-9;

// Guests that are given to, and taken from, together.
using Groups = std::vector<std::vector<size_t>>;

class Search {
 public:
  Search(const Scenario& scenario, const CostModel& cost, uint64_t seed)
      : scenario_(scenario),
        cost_(cost),
        seed_(seed),
        parts_(scenario.guests.size(), 1.0 / static_cast<double>(scenario.guests.size())) {}

  Result<BestSplit> Run(const Groups& kinds) {
    auto first = Try();
    if (!first) return std::unexpected(std::move(first).error());
    best_ = *std::move(first);
    TMEM_TRY(Climb(kinds, kFirstStep));
    if (kinds.size() < parts_.size() && parts_.size() <= kMaxGuestsToSearch) {
      Groups guests;
      for (size_t i = 0; i < parts_.size(); ++i) guests.push_back({i});
      TMEM_TRY(Climb(guests, kLastStep));
    }
    return BestSplit{.parts = parts_, .outcome = std::move(best_), .runs = runs_};
  }

 private:
  Result<Outcome> Try() {
    for (size_t i = 0; i < parts_.size(); ++i) {
      uint32_t& weight = scenario_.guests[i].settings.weight;
      weight = static_cast<uint32_t>(std::lround(parts_[i] * GuestSettings::kMaxWeight));
      weight = std::max(weight, GuestSettings::kMinWeight);
    }
    ++runs_;
    return Simulate(scenario_, {.kind = PolicyKind::kStatic}, cost_, seed_);
  }

  Result<void> Climb(const Groups& groups, double first_step) {
    for (double step = first_step; step >= kLastStep; step /= 2) {
      for (bool better = true; better;) {
        auto found = Improve(groups, step);
        if (!found) return std::unexpected(std::move(found).error());
        better = *found;
      }
    }
    return {};
  }

  // Keeps each move of a step that helps. False if none did.
  Result<bool> Improve(const Groups& groups, double step) {
    bool better = false;
    for (const auto& from : groups) {
      for (const auto& to : groups) {
        if (&from == &to || parts_[from.front()] + kRounding < step / Count(from)) continue;
        const std::vector<double> before = parts_;
        for (const size_t guest : from) parts_[guest] -= step / Count(from);
        for (const size_t guest : to) parts_[guest] += step / Count(to);
        auto outcome = Try();
        if (!outcome) return std::unexpected(std::move(outcome).error());
        if (outcome->total_slowdown() < best_.total_slowdown()) {
          best_ = *std::move(outcome);
          better = true;
        } else {
          parts_ = before;
        }
      }
    }
    return better;
  }

  static double Count(const std::vector<size_t>& group) {
    return static_cast<double>(group.size());
  }

  Scenario scenario_;
  const CostModel& cost_;
  const uint64_t seed_;
  std::vector<double> parts_;  // of the capacity, by guest
  Outcome best_;               // with these
  int runs_ = 0;
};

}  // namespace

Result<BestSplit> FindBestSplit(const Scenario& scenario, const CostModel& cost, uint64_t seed) {
  Groups kinds;
  for (size_t i = 0; i < scenario.guests.size(); ++i) {
    kinds.resize(std::max(kinds.size(), scenario.guests[i].kind + 1));
    kinds[scenario.guests[i].kind].push_back(i);
  }
  if (kinds.size() > kMaxKindsToSearch) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("a search takes at most {} kinds of guests; there are {}",
                            kMaxKindsToSearch, kinds.size()));
  }
  return Search(scenario, cost, seed).Run(kinds);
}

}  // namespace tmem::sim
