#include "ctl/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <string_view>
#include <utility>

#include "daemon/control_protocol.h"

namespace tmem::ctl {

namespace {

namespace field = daemon::field;
namespace verb = daemon::verb;

constexpr std::string_view kXenstore = "xenstore";
constexpr double kMinDelay = 0.1;
constexpr double kMaxDelay = 3600;

struct Words {
  std::string socket{daemon::kDefaultControlSocket};
  bool json = false;
  std::string guest;
  bool all = false;
  bool names = false;
  bool pools = false;
  bool persist = false;
  std::vector<std::string> settings;
  std::string size;
  std::string path;
  std::string value;
  uint32_t changes = 0;
  std::string uuid;
  std::string permission;
  std::string sort = std::string(1, TopModel::kDefaultKey);
  double delay = 2;
  uint32_t frames = 1;
  bool once = false;
  bool batch = false;
};

CLI::App* Declare(CLI::App& app, std::string_view name, const std::string& help) {
  CLI::App* const command = app.add_subcommand(std::string(name), help);
  command->fallthrough();  // --socket and --json may follow the command too
  return command;
}

CLI::App* DeclareForGuest(CLI::App& app, Words& words, std::string_view name,
                          const std::string& help) {
  CLI::App* const command = Declare(app, name, help);
  command->add_option("GUEST", words.guest, "The guest's name or number")->required();
  return command;
}

void DeclareForOneOrAll(CLI::App& app, Words& words, std::string_view name,
                        const std::string& help) {
  CLI::App* const command = Declare(app, name, help);
  CLI::Option* const guest =
      command->add_option("GUEST", words.guest, "The guest's name or number");
  command->add_flag("-a,--all", words.all, "All guests")->excludes(guest);
}

void DeclareTop(CLI::App& app, Words& words) {
  CLI::App* const top = Declare(app, "top", "Watch all guests; q quits");
  top->add_option("-s,--sort", words.sort, "Key of the column to sort by: " + TopModel::KeysText())
      ->type_name("KEY");
  top->add_option("-d,--delay", words.delay, "Seconds between two looks (default 2)")
      ->check(CLI::Range(kMinDelay, kMaxDelay))
      ->type_name("SECONDS");
  top->add_flag("--once", words.once, "Print one frame as text");
  top->add_flag("-b,--batch", words.batch, "Print frames as text");
  top->add_option("-n,--count", words.frames, "Frames to print with --batch (default 1)")
      ->check(CLI::Range(1u, 1'000'000u))
      ->type_name("COUNT");
}

void DeclareXenstore(CLI::App& app, Words& words) {
  CLI::App* const xenstore =
      Declare(app, kXenstore, "Read and write the keys of a host without Xen");
  xenstore->require_subcommand(1);
  const auto declare = [&](std::string_view name, const std::string& help) {
    CLI::App* const command = Declare(*xenstore, name, help);
    command->add_option("PATH", words.path, "The key, as in /tool/tmemd/capacity")->required();
    return command;
  };
  declare("read", "Print a key's value");
  declare("write", "Write a key")->add_option("VALUE", words.value, "Its value")->required();
  declare("rm", "Remove a key and all below it");
  declare("list", "Print a key and all below it, with their values");
  declare("watch", "Print keys at and below one as they change")
      ->add_option("-n,--count", words.changes, "End after so many (default: never)")
      ->check(CLI::Range(1u, 1'000'000u))
      ->type_name("COUNT");
}

void DeclareAll(CLI::App& app, Words& words) {
  app.add_option("--socket", words.socket, "The daemon's control socket")
      ->envname("TMEM_CONTROL_SOCKET")
      ->type_name("PATH");
  app.add_flag("--json", words.json, "Print the daemon's answer as JSON, for scripts");
  app.require_subcommand(1);

  Declare(app, verb::kList, "List the guests")
      ->add_flag("--names", words.names, "Names only, one a line");
  Declare(app, verb::kShow, "Show one guest's state and settings, or the host's settings")
      ->add_option("GUEST", words.guest, "The guest's name or number");
  CLI::App* const stats = Declare(app, verb::kStats, "Print all counters");
  stats->add_option("GUEST", words.guest, "Of this guest only (default: the host and all guests)");
  stats->add_flag("--pools", words.pools, "Of each pool");

  DeclareForGuest(app, words, verb::kExplain,
                  "Tell a guest's share, why it lacked memory, and what would change that");
  DeclareForGuest(app, words, verb::kHistory, "Plot what a guest did in the last hour");

  CLI::App* const set = Declare(app, verb::kSet, "Change settings of a guest, or of the host");
  set->add_option("SETTINGS", words.settings,
                  "GUEST NAME=VALUE...: weight, reserve, cap, compress, compress-ephemeral,\n"
                  "compress-persistent, compress-cpu, dense-after,\n"
                  "frozen, shared-auth; or, without GUEST, the host's:\n"
                  "capacity, log-level and others of `tmemd --help-config`.\n"
                  "NAME=default takes back what was set")
      ->required();
  set->add_flag("--persist", words.persist, "Keep a guest's settings in its file in guests.d");
  DeclareForOneOrAll(app, words, verb::kFreeze, "Refuse a guest's puts");
  DeclareForOneOrAll(app, words, verb::kThaw, "Allow a guest's puts again");
  DeclareForOneOrAll(app, words, verb::kFlush, "Drop a guest's ephemeral pages");
  Declare(app, verb::kFreeable, "Tell what reclaim can give back");
  Declare(app, verb::kReclaim, "Give memory back to the host, and lower the capacity by it")
      ->add_option("SIZE", words.size, "How much, as in 512M")
      ->required();
  CLI::App* const auth =
      DeclareForGuest(app, words, verb::kAuth, "Let a guest join a shared pool, or not");
  auth->add_option("UUID", words.uuid, "The shared pool's uuid")->required();
  auth->add_option("PERMISSION", words.permission, "allow or deny")
      ->required()
      ->check(CLI::IsMember({"allow", "deny"}));
  DeclareForGuest(app, words, verb::kForgive, "Let a guest that broke the protocol connect again");
  DeclareTop(app, words);
  DeclareXenstore(app, words);
  Declare(app, verb::kVersion, "Print the versions of tmemctl and tmemd");
  app.footer(
      "Exit status: 0 done, 1 refused or not found, 2 wrong command line,\n"
      "3 no daemon answers, 4 permission missing.");
}

Reply WrongUsage(std::string_view what) {
  return {ExitStatus::kUsage, fmt::format("tmemctl: {}; see tmemctl --help\n", what)};
}

using Requests = Result<std::vector<Request>>;

std::unexpected<Error> Wrong(std::string message) {
  return Fail(ErrorCode::kInvalid, std::move(message));
}

Result<std::pair<std::string, std::string>> SplitSetting(const std::string& word) {
  const size_t equals = word.find('=');
  if (equals == 0 || equals == std::string::npos) {
    return Wrong(fmt::format("set: '{}' is no setting; write NAME=VALUE", word));
  }
  return std::pair(word.substr(0, equals), word.substr(equals + 1));
}

Requests Settings(const Words& words) {
  const bool for_host = words.settings.front().find('=') != std::string::npos;
  if (!for_host && words.settings.size() == 1) {
    return Wrong("set: nothing to set; write GUEST NAME=VALUE");
  }
  Json settings = Json::object();
  for (size_t i = for_host ? 0 : 1; i < words.settings.size(); ++i) {
    const auto setting = SplitSetting(words.settings[i]);
    if (!setting) return std::unexpected(setting.error());
    settings[setting->first] = setting->second;
  }
  Json fields = Json::object();
  if (!for_host) fields[field::kGuest] = words.settings.front();
  fields[field::kSettings] = std::move(settings);
  if (words.persist) fields[field::kPersist] = true;
  return std::vector{Request{std::string(verb::kSet), std::move(fields),
                             for_host ? Show::kHostChanges : Show::kSettings}};
}

Requests OneOrAll(std::string_view verb, const Words& words, Show show) {
  if (words.guest.empty() && !words.all) {
    return Wrong(fmt::format("{}: name a guest, or say --all", verb));
  }
  Json fields = Json::object();
  if (!words.all) fields[field::kGuest] = words.guest;
  return std::vector{Request{std::string(verb), std::move(fields), show}};
}

Requests Stats(const Words& words) {
  Request request{.verb = std::string(verb::kStats)};
  if (!words.guest.empty()) request.fields[field::kGuest] = words.guest;
  request.show = words.pools           ? Show::kPools
                 : words.guest.empty() ? Show::kHostCounters
                                       : Show::kGuestCounters;
  return std::vector{std::move(request)};
}

// Requests for the command's words. REQUIRES: it is none of those that ask for something else.
Requests RequestsFor(std::string_view command, const Words& words) {
  const auto one = [&](Json fields, Show show) {
    return std::vector{Request{std::string(command), std::move(fields), show}};
  };
  const Json guest{{field::kGuest, words.guest}};
  if (command == verb::kList) {
    return one(Json::object(), words.names ? Show::kNames : Show::kList);
  }
  if (command == verb::kShow) {
    return words.guest.empty() ? one(Json::object(), Show::kHostSettings)
                               : one(guest, Show::kGuest);
  }
  if (command == verb::kStats) return Stats(words);
  if (command == verb::kExplain) return one(guest, Show::kExplain);
  if (command == verb::kHistory) return one(guest, Show::kHistory);
  if (command == verb::kSet) return Settings(words);
  if (command == verb::kFreeze || command == verb::kThaw) {
    return OneOrAll(command, words, Show::kNothing);
  }
  if (command == verb::kFlush) return OneOrAll(command, words, Show::kFlushed);
  if (command == verb::kFreeable) return one(Json::object(), Show::kFreeable);
  if (command == verb::kReclaim) return one({{field::kBytes, words.size}}, Show::kReclaimed);
  if (command == verb::kForgive) return one(guest, Show::kNothing);
  if (command == verb::kAuth) {
    return one({{field::kGuest, words.guest},
                {field::kUuid, words.uuid},
                {field::kAllow, words.permission == "allow"}},
               Show::kNothing);
  }
  return one(Json::object(), Show::kVersion);
}

std::variant<std::vector<Request>, TopOptions, WatchOptions> XenstoreTask(std::string_view command,
                                                                          const Words& words) {
  if (command == "watch") return WatchOptions{.path = words.path, .changes = words.changes};
  Json fields{{field::kPath, words.path}};
  const auto one = [&](std::string_view verb, Show show) {
    return std::vector{Request{std::string(verb), std::move(fields), show}};
  };
  if (command == "read") return one(verb::kXenstoreRead, Show::kNodeValue);
  if (command == "list") return one(verb::kXenstoreList, Show::kNodes);
  if (command == "rm") return one(verb::kXenstoreRemove, Show::kNothing);
  fields[field::kValue] = words.value;
  return one(verb::kXenstoreWrite, Show::kNothing);
}

Result<TopOptions> TopOptionsFor(const Words& words) {
  if (words.sort.size() != 1 || !TopModel().SortBy(words.sort[0])) {
    return Wrong(fmt::format("top: no column '{}' to sort by; there are {}", words.sort,
                             TopModel::KeysText()));
  }
  TopOptions options;
  options.sort_key = words.sort[0];
  options.delay = std::chrono::milliseconds(std::llround(words.delay * 1000));
  if (words.once || words.batch) options.frames = words.once ? 1 : words.frames;
  return options;
}

}  // namespace

std::variant<Order, Reply> ParseCommandLine(int argc, const char* const* argv) {
  CLI::App app("tmemctl shows and changes what tmemd does for the guests of this host.", "tmemctl");
  Words words;
  DeclareAll(app, words);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return Reply{ExitStatus::kOk, app.help()};
  } catch (const CLI::RequiredError& error) {
    // To the library, a mistyped command is a missing one.
    const auto unknown = app.remaining(/*recurse=*/true);
    if (unknown.empty()) return WrongUsage(error.what());
    return WrongUsage(fmt::format("there is no command or option '{}' here", unknown.front()));
  } catch (const CLI::ParseError& error) {
    return WrongUsage(error.what());
  }
  Order order{.socket = words.socket, .json = words.json, .task = {}};
  const CLI::App* const chosen = app.get_subcommands().front();
  const std::string command = chosen->get_name();
  if (command == "top") {
    const auto options = TopOptionsFor(words);
    if (!options) return WrongUsage(options.error().message);
    order.task = *options;
  } else if (command == kXenstore) {
    order.task = XenstoreTask(chosen->get_subcommands().front()->get_name(), words);
  } else {
    auto requests = RequestsFor(command, words);
    if (!requests) return WrongUsage(requests.error().message);
    order.task = std::move(*requests);
  }
  return order;
}

}  // namespace tmem::ctl
