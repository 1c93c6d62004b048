#include "sim/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace tmem::sim {

namespace {

// Parts are counted in these; also the steps, from the first to the last.
constexpr int kUnits = 64;
constexpr int kFirstStep = 8;
constexpr int kLastStep = 2;
constexpr uint32_t kWeightPerUnit = 1000;

class Search {
 public:
  Search(const Scenario& scenario, const CostModel& cost, uint64_t seed)
      : scenario_(scenario), cost_(cost), seed_(seed) {}

  Result<BestSplit> Run() {
    const auto count = static_cast<int>(scenario_.guests.size());
    std::vector<int> units(scenario_.guests.size(), kUnits / count);
    units.front() += kUnits % count;
    auto first = Try(units);
    if (!first) return std::unexpected(std::move(first).error());
    best_ = *std::move(first);
    for (int step = kFirstStep; step >= kLastStep; step /= 2) {
      for (bool better = true; better;) {
        auto found = Improve(units, step);
        if (!found) return std::unexpected(std::move(found).error());
        better = *found;
      }
    }
    BestSplit split{.parts = {}, .outcome = std::move(best_), .runs = runs_};
    for (const int part : units) split.parts.push_back(static_cast<double>(part) / kUnits);
    return split;
  }

 private:
  Result<Outcome> Try(const std::vector<int>& units) {
    for (size_t i = 0; i < units.size(); ++i) {
      scenario_.guests[i].settings.weight =
          std::max(static_cast<uint32_t>(units[i]) * kWeightPerUnit, GuestSettings::kMinWeight);
    }
    ++runs_;
    return Simulate(scenario_, {.kind = PolicyKind::kStatic}, cost_, seed_);
  }

  // Keeps each move of a step that helps. False if none did.
  Result<bool> Improve(std::vector<int>& units, int step) {
    bool better = false;
    for (size_t from = 0; from < units.size(); ++from) {
      for (size_t to = 0; to < units.size(); ++to) {
        if (from == to || units[from] < step) continue;
        units[from] -= step;
        units[to] += step;
        auto outcome = Try(units);
        if (!outcome) return std::unexpected(std::move(outcome).error());
        if (outcome->total_slowdown() < best_.total_slowdown()) {
          best_ = *std::move(outcome);
          better = true;
        } else {
          units[from] += step;
          units[to] -= step;
        }
      }
    }
    return better;
  }

  Scenario scenario_;
  const CostModel& cost_;
  const uint64_t seed_;
  Outcome best_;
  int runs_ = 0;
};

}  // namespace

Result<BestSplit> FindBestSplit(const Scenario& scenario, const CostModel& cost, uint64_t seed) {
  if (scenario.guests.size() > kMaxGuestsToSearch) {
    return Fail(ErrorCode::kInvalid, fmt::format("a search takes at most {} guests; there are {}",
                                                 kMaxGuestsToSearch, scenario.guests.size()));
  }
  return Search(scenario, cost, seed).Run();
}

}  // namespace tmem::sim
