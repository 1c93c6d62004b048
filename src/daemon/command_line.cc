#include "daemon/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <optional>
#include <vector>

#include "daemon/knobs.h"
#include "daemon/version.h"

namespace tmem::daemon {

namespace {

using Overrides = std::vector<std::pair<std::string, std::string>>;

struct Words {
  std::string config;
  bool check = false;
  bool manual = false;
  bool default_file = false;
  bool version = false;
  std::vector<std::string> settings;                       // NAME=VALUE
  std::vector<std::pair<std::string, std::string>> flags;  // of knobs that have their own
};

// "control.socket" is --control-socket.
std::string FlagOf(const DaemonKnob& knob) {
  std::string flag = "--" + knob.name;
  std::ranges::replace(flag, '.', '-');
  return flag;
}

void Declare(CLI::App& app, Words& words) {
  app.add_option("-c,--config", words.config,
                 fmt::format("Configuration file (default {})", kDefaultConfigPath));
  app.add_option("--set", words.settings, "Override a setting; see --help-config")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  for (const DaemonKnob& knob : DaemonKnobs()) {
    if (!knob.has_flag) continue;
    app.add_option_function<std::string>(
           FlagOf(knob),
           [&words, &knob](const std::string& value) {
             words.flags.emplace_back(knob.name, value);
           },
           knob.help)
        ->type_name("VALUE");
  }
  app.add_flag("--check-config", words.check, "Check the configuration and end");
  app.add_flag("--help-config", words.manual, "Describe every setting and end");
  app.add_flag("--print-config", words.default_file, "Print a default configuration file and end");
  app.add_flag("--version", words.version, "Print the version and end");
  app.footer(
      "Exit status: 0 ended well, 1 failure, 2 wrong command line, 3 wrong configuration,\n"
      "4 permission missing, 5 already running, 6 hypervisor not supported by this build or host.");
}

Reply WrongUsage(std::string_view what) {
  return {ExitStatus::kUsage, fmt::format("tmemd: {}; see tmemd --help\n", what)};
}

// The settings in the order of their strength: flags over --set over the file. Each is checked
// here, so that a wrong one is a mistake of the command line and not of the file.
Result<Overrides> OverridesOf(const Words& words) {
  Overrides overrides;
  for (const std::string& word : words.settings) {
    const size_t equals = word.find('=');
    if (equals == std::string::npos) {
      return Fail(ErrorCode::kInvalid, fmt::format("--set {}: write NAME=VALUE", word));
    }
    overrides.emplace_back(word.substr(0, equals), word.substr(equals + 1));
  }
  overrides.insert(overrides.end(), words.flags.begin(), words.flags.end());
  Config scratch;
  for (const auto& [name, value] : overrides) TMEM_TRY(SetKnob(scratch, name, value));
  return overrides;
}

}  // namespace

std::variant<Order, Reply> ParseCommandLine(int argc, const char* const* argv) {
  CLI::App app("tmemd keeps pages for the guests of this host (transcendent memory).", "tmemd");
  Words words;
  Declare(app, words);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return Reply{ExitStatus::kOk, app.help()};
  } catch (const CLI::ParseError& error) {
    return WrongUsage(error.what());
  }
  if (words.manual) return Reply{ExitStatus::kOk, KnobManual()};
  if (words.default_file) return Reply{ExitStatus::kOk, DefaultConfigFile()};
  if (words.version) return Reply{ExitStatus::kOk, fmt::format("tmemd {}\n", Version())};

  auto overrides = OverridesOf(words);
  if (!overrides) return WrongUsage(overrides.error().message);
  Order order;
  order.check_only = words.check;
  order.source.overrides = std::move(*overrides);
  if (!words.config.empty()) {
    order.source.path = words.config;
    order.source.must_exist = true;
  }
  return order;
}

}  // namespace tmem::daemon
