// Runs a scenario's guests against a real store under one policy, in virtual time.
//
// Guests run side by side, each on a processor of its own; the store's Tick comes once a virtual
// second. A run follows from its scenario, policy, cost model and seed alone.
#ifndef TMEM_SIM_SIMULATION_H_
#define TMEM_SIM_SIMULATION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "pools/settings.h"
#include "sim/cost_model.h"
#include "sim/guest.h"

namespace tmem::sim {

struct Scenario {
  Bytes capacity;
  double seconds = 0;  // it ends then; 0: when all guests are done
  std::vector<GuestSpec> guests;
};

struct Outcome {
  struct GuestOutcome {
    std::string name;
    GuestRun run;
    std::vector<Bytes> held;  // at each second
  };
  std::vector<GuestOutcome> guests;
  // From the last arrival until everybody's memory stays, while all are there, within a tenth of
  // the capacity of what it is in the end; seconds. nullopt: it does not.
  std::optional<double> convergence;
  // How far anybody's memory went up and down in the second half of that time, relative to the
  // capacity. nullopt: it lasted too short.
  std::optional<double> swing;

  // The guests' time together, relative to what they would have taken with all of their memory.
  double total_slowdown() const;
  double worst_slowdown() const;
  // Jain's index of the guests' speeds (1 / slowdown): 1 if all are slowed down alike, 1/n if one
  // has everything.
  double fairness() const;
  uint64_t disk_reads() const;
};

// Throws std::logic_error if the store loses a page that it may not lose: a bug. Errors: those of
// Store::Create.
Result<Outcome> Simulate(const Scenario& scenario, const PolicySettings& policy,
                         const CostModel& cost, uint64_t seed);

}  // namespace tmem::sim

#endif  // TMEM_SIM_SIMULATION_H_
