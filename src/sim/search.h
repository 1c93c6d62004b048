// The best fixed division of the memory that can be found: what the policies are measured against.
//
// Hill climbing: from equal parts, parts are moved from any guest to any other as long as that
// lessens the total slowdown, in ever smaller steps. First from kind to kind, between which the
// guests of each divide its part; then from guest to guest, if they are few.
#ifndef TMEM_SIM_SEARCH_H_
#define TMEM_SIM_SEARCH_H_

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "sim/simulation.h"

namespace tmem::sim {

// Runs grow with the square of these.
inline constexpr size_t kMaxKindsToSearch = 8;
inline constexpr size_t kMaxGuestsToSearch = 4;

struct BestSplit {
  std::vector<double> parts;  // of the capacity, by guest
  Outcome outcome;
  int runs = 0;  // that it took to find
};

// kInvalid for too many kinds.
Result<BestSplit> FindBestSplit(const Scenario& scenario, const CostModel& cost, uint64_t seed);

}  // namespace tmem::sim

#endif  // TMEM_SIM_SEARCH_H_
