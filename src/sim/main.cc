// tmem-sim: see docs/policies.md.
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <fstream>
#include <utility>
#include <variant>
#include <vector>

#include "sim/command_line.h"
#include "sim/report.h"
#include "sim/search.h"

namespace tmem::sim {
namespace {

Result<void> Search(const Order& order, const Scenario& scenario,
                    std::vector<NamedOutcome>& outcomes) {
  auto best = FindBestSplit(scenario, order.cost, order.seed);
  if (!best) return std::unexpected(std::move(best).error());
  fmt::print("best fixed division after {} runs, in parts of the capacity:", best->runs);
  for (size_t i = 0; i < best->parts.size(); ++i) {
    // Guests of a kind mostly have the same: it is said once.
    const bool next_alike = i + 1 < best->parts.size() && best->parts[i] == best->parts[i + 1] &&
                            scenario.guests[i].kind == scenario.guests[i + 1].kind;
    if (!next_alike) fmt::print(" {} {:.3f}", scenario.guests[i].name, best->parts[i]);
  }
  fmt::print("\n");
  outcomes.push_back({std::string(kBestSplit), std::move(best->outcome)});
  return {};
}

Result<void> Run(const Order& order, const NamedScenario& named) {
  const Scenario& scenario = named.scenario;
  fmt::print("{}: {} guests, capacity {}, seed {}\n", named.name, scenario.guests.size(),
             FormatBytes(scenario.capacity), order.seed);
  std::vector<NamedOutcome> outcomes;
  for (const PolicyKind policy : order.policies) {
    auto outcome = Simulate(scenario, {.kind = policy}, order.cost, order.seed);
    if (!outcome) return std::unexpected(std::move(outcome).error());
    outcomes.push_back({std::string(NameOf(policy)), *std::move(outcome)});
  }
  if (order.search) TMEM_TRY(Search(order, scenario, outcomes));
  fmt::print("{}{}", PolicyTable(outcomes), Comparison(outcomes));
  if (order.per_guest) fmt::print("{}", GuestTable(outcomes));
  std::fflush(stdout);  // the next takes long
  if (order.plot.empty()) return {};
  std::ofstream file(order.plot);
  file << Plot(outcomes, scenario.capacity);
  file.close();
  if (!file) return std::unexpected(SystemError(order.plot));
  return {};
}

Result<void> Obey(const Order& order) {
  for (const NamedScenario& named : order.scenarios) {
    TMEM_TRY(Run(order, named));
  }
  return {};
}

int Main(int argc, const char* const* argv) {
  const auto parsed = ParseCommandLine(argc, argv);
  if (const Reply* const reply = std::get_if<Reply>(&parsed)) {
    std::fputs(reply->text.c_str(), reply->status == 0 ? stdout : stderr);
    return reply->status;
  }
  if (const auto done = Obey(std::get<Order>(parsed)); !done) {
    fmt::print(stderr, "tmem-sim: {}\n", done.error().message);
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace tmem::sim

int main(int argc, char** argv) {
  try {
    return tmem::sim::Main(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "tmem-sim: {}\n", error.what());
    return 1;
  }
}
