// Outcomes as people look at them: tables, and a plot.
#ifndef TMEM_SIM_REPORT_H_
#define TMEM_SIM_REPORT_H_

#include <span>
#include <string>
#include <string_view>

#include "sim/simulation.h"

namespace tmem::sim {

inline constexpr std::string_view kBestSplit = "best split";

struct NamedOutcome {
  std::string name;  // of the policy, or kBestSplit
  Outcome outcome;
};

// A line a policy: total slowdown, worst guest, Jain's index, convergence, reads from disk.
std::string PolicyTable(std::span<const NamedOutcome> outcomes);

// What max-min is beside greedy, and utility beside the best fixed division, if they are there: a
// line each.
std::string Comparison(std::span<const NamedOutcome> outcomes);

// A line a guest, a column a policy: slowdowns.
std::string GuestTable(std::span<const NamedOutcome> outcomes);

// An SVG picture: a panel a policy, in which each guest's memory stands on that of those before it,
// over time, with its slowdown beside its name. Guests beyond the first kPlotted are shown as one.
inline constexpr size_t kPlotted = 8;
std::string Plot(std::span<const NamedOutcome> outcomes, Bytes capacity);

}  // namespace tmem::sim

#endif  // TMEM_SIM_REPORT_H_
