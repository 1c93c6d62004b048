// What tmem-sim is asked to do.
#ifndef TMEM_SIM_COMMAND_LINE_H_
#define TMEM_SIM_COMMAND_LINE_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "pools/settings.h"
#include "sim/cost_model.h"
#include "sim/simulation.h"

namespace tmem::sim {

struct NamedScenario {
  std::string name;
  Scenario scenario;
};

struct Order {
  std::vector<NamedScenario> scenarios;  // not empty
  std::vector<PolicyKind> policies;      // not empty
  CostModel cost;
  uint64_t seed = 1;
  bool per_guest = false;
  bool search = false;
  std::string plot;  // a file, for one scenario alone; empty: none
};

// Help, or an error of the command line, with the status to end with.
struct Reply {
  int status = 0;
  std::string text;
};

std::variant<Order, Reply> ParseCommandLine(int argc, const char* const* argv);

}  // namespace tmem::sim

#endif  // TMEM_SIM_COMMAND_LINE_H_
