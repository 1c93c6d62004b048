#include "sim/command_line.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

#include "sim/scenario.h"

namespace tmem::sim {

namespace {

constexpr int kUsage = 2;
constexpr uint32_t kDefaultCrowd = 100;

std::string Footer() {
  std::string text = "Scenarios (or write a file of your own; docs/policies.md says how):\n";
  for (const BuiltIn& one : BuiltInScenarios()) {
    text += fmt::format("  {:<16} {}\n", one.name, one.help);
  }
  text += "Costs, in nanoseconds of a guest's time:\n";
  for (const CostField& field : kCostFields) {
    text += fmt::format("  {:<16} {} ({})\n", field.name, field.help, CostModel{}.*field.field);
  }
  return text;
}

Result<void> SetCost(CostModel& cost, const std::string& word) {
  const size_t equals = std::min(word.find('='), word.size());
  const auto field = std::ranges::find(kCostFields, word.substr(0, equals), &CostField::name);
  Nanoseconds value = 0;
  const char* const end = word.data() + word.size();
  const char* const begin = std::min(word.data() + equals + 1, end);
  const auto read = std::from_chars(begin, end, value);
  if (field == kCostFields.end() || read.ec != std::errc{} || read.ptr != end) {
    return Fail(
        ErrorCode::kInvalid,
        fmt::format("--cost {}: write NAME=NANOSECONDS, with a name that --help lists", word));
  }
  cost.*field->field = value;
  return {};
}

Result<Scenario> FindScenario(const std::string& name, uint32_t crowd) {
  const auto built_in = std::ranges::find(BuiltInScenarios(), name, &BuiltIn::name);
  if (built_in != BuiltInScenarios().end()) return ParseScenario(built_in->text, name, crowd);
  std::ifstream file(name);
  if (!file) {
    return Fail(
        ErrorCode::kNotFound,
        fmt::format("{} is neither a scenario that --help lists nor a file that can be read",
                    name));
  }
  std::ostringstream text;
  text << file.rdbuf();
  return ParseScenario(text.str(), name, crowd);
}

Result<void> FindPolicies(Order& order, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const auto at = std::ranges::find(kPolicyNames, name);
    if (at == kPolicyNames.end()) {
      return Fail(ErrorCode::kInvalid,
                  fmt::format("--policy {}: write some of {}", name, fmt::join(kPolicyNames, ",")));
    }
    order.policies.push_back(static_cast<PolicyKind>(at - kPolicyNames.begin()));
  }
  return {};
}

}  // namespace

std::variant<Order, Reply> ParseCommandLine(int argc, const char* const* argv) {
  Order order;
  uint32_t crowd = kDefaultCrowd;
  std::vector<std::string> policies(kPolicyNames.begin(), kPolicyNames.end());
  std::vector<std::string> costs;
  std::vector<std::string> scenarios;
  CLI::App app("Compares policies of tmemd: simulated guests, the real store, virtual time.",
               "tmem-sim");
  app.footer(Footer());
  app.add_option("SCENARIO", scenarios, "some of those below, or files")->required();
  app.add_option("--policy", policies, "policies to compare, with commas; all of them")
      ->delimiter(',');
  app.add_option("--guests", crowd, "how many guests a scenario's crowd has (100)")
      ->check(CLI::Range(1u, kMaxGuests));
  app.add_option("--cost", costs, "what something costs, as NAME=NANOSECONDS")->delimiter(',');
  app.add_option("--seed", order.seed, "another course of the same scenario (1)");
  app.add_flag("--per-guest", order.per_guest, "print each guest's slowdown, too");
  app.add_flag("--search", order.search, "look for the best fixed division, too; takes long");
  app.add_option("--plot", order.plot, "write a picture (SVG) of who held what to this file");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return Reply{0, app.help()};
  } catch (const CLI::ParseError& error) {
    return Reply{kUsage, fmt::format("tmem-sim: {}\n", error.what())};
  }
  const auto complete = [&]() -> Result<void> {
    TMEM_TRY(FindPolicies(order, policies));
    for (const std::string& cost : costs) TMEM_TRY(SetCost(order.cost, cost));
    for (const std::string& name : scenarios) {
      auto scenario = FindScenario(name, crowd);
      if (!scenario) return std::unexpected(std::move(scenario).error());
      order.scenarios.push_back({name, *std::move(scenario)});
    }
    if (!order.plot.empty() && scenarios.size() > 1) {
      return Fail(ErrorCode::kInvalid, "--plot draws one scenario; name one alone");
    }
    return {};
  };
  if (const auto completed = complete(); !completed) {
    return Reply{kUsage, fmt::format("tmem-sim: {}\n", completed.error().message)};
  }
  return order;
}

}  // namespace tmem::sim
