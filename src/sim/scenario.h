// Scenarios as text: one line for the host, one for each kind of guest.
//
//   # comment
//   capacity 256M
//   seconds 120                  the run ends then; without, when all guests are done
//   guest hog workload=usemem pages=512M resident=64M accesses=2000000
//   guest quiet count=3 workload=graph pages=100M resident=64M start=5
//
// docs/policies.md lists what a guest may have. "count=*" stands for as many as are asked for.
#ifndef TMEM_SIM_SCENARIO_H_
#define TMEM_SIM_SCENARIO_H_

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "sim/simulation.h"

namespace tmem::sim {

inline constexpr uint32_t kMaxGuests = 2000;

// kInvalid with the line's number and what is allowed there. `file` names the text in messages.
// `crowd` is what "count=*" means.
Result<Scenario> ParseScenario(std::string_view text, const std::string& file, uint32_t crowd);

struct BuiltIn {
  std::string_view name;
  std::string_view help;
  std::string_view text;
};
std::span<const BuiltIn> BuiltInScenarios();

}  // namespace tmem::sim

#endif  // TMEM_SIM_SCENARIO_H_
