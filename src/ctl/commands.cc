#include "ctl/commands.h"

#include <fmt/format.h>

#include <cstdio>
#include <utility>

#include "base/units.h"
#include "ctl/explain_view.h"
#include "ctl/history_view.h"
#include "ctl/table.h"
#include "ctl/views.h"
#include "ctl/watch.h"
#include "daemon/control_client.h"
#include "daemon/control_protocol.h"
#include "daemon/version.h"

namespace tmem::ctl {

namespace {

using daemon::ControlClient;

std::string NamesText(const Json& guests) {
  std::string text;
  for (const Json& guest : guests) text += Printable(guest.at("name").get<std::string>()) + '\n';
  return text;
}

// A single guest's result, or the host's, which has all guests in it.
std::string PoolsText(const Json& result) {
  if (!result.contains("guests")) return PoolsView(result);
  std::string text;
  for (const Json& guest : result.at("guests")) text += PoolsView(guest);
  return text;
}

std::string HostText(const Json& result) {
  std::string text = HostView(result.at("host"));
  for (const Json& guest : result.at("guests")) text += CountersView(guest);
  return text;
}

std::string BytesText(const Json& result, const char* key) {
  return HumanBytes(Bytes(result.at(key).get<uint64_t>()));
}

Result<Json> Ask(const std::string& socket, const Request& request) {
  auto client = ControlClient::Connect(socket);
  if (!client) return std::unexpected(std::move(client).error());
  return client->Call(request.verb, request.fields);
}

Result<void> Watch(const Order& order, const TopOptions& options) {
  const SteadyClock clock;
  // A connection for each sample: a daemon that was restarted is found again.
  const Request stats{.verb = std::string(daemon::verb::kStats)};
  const auto sample = [&] { return Ask(order.socket, stats); };
  return options.frames != 0 ? PrintTop(options, sample, clock)
                             : RunTopScreen(options, sample, clock);
}

}  // namespace

std::string TextFor(Show show, const Json& result) {
  switch (show) {
    case Show::kNothing:
      return "";
    case Show::kVersion:
      return fmt::format("tmemctl {}\ntmemd {}\n", daemon::Version(),
                         result.at("tmemd").get<std::string>());
    case Show::kList:
      return ListView(result);
    case Show::kNames:
      return NamesText(result);
    case Show::kGuest:
      return ShowView(result);
    case Show::kHostCounters:
      return HostText(result);
    case Show::kGuestCounters:
      return CountersView(result);
    case Show::kPools:
      return PoolsText(result);
    case Show::kExplain:
      return ExplainView(result);
    case Show::kHistory:
      return HistoryView(result, TerminalGlyphs());
    case Show::kSettings:
      return SettingsView(result);
    case Show::kHostSettings:
      return HostSettingsView(result);
    case Show::kHostChanges:
      return HostChangesView(result);
    case Show::kFlushed:
      return fmt::format("{} given back\n", BytesText(result, "freed_bytes"));
    case Show::kFreeable:
      return FreeableView(result);
    case Show::kReclaimed:
      return ReclaimedView(result);
    case Show::kNodeValue:
      return Printable(result.at("value").get<std::string>()) + '\n';
    case Show::kNodes:
      return NodesView(result);
  }
  return "";
}

Result<void> Obey(const Order& order) {
  if (const auto* const options = std::get_if<TopOptions>(&order.task)) {
    return Watch(order, *options);
  }
  if (const auto* const options = std::get_if<WatchOptions>(&order.task)) {
    return WatchNodes(*options, [&](const Request& request) { return Ask(order.socket, request); });
  }
  for (const Request& request : std::get<std::vector<Request>>(order.task)) {
    const auto result = Ask(order.socket, request);
    if (!result) return std::unexpected(result.error());
    const std::string text = order.json ? result->dump(2) + '\n' : TextFor(request.show, *result);
    std::fputs(text.c_str(), stdout);
  }
  return {};
}

}  // namespace tmem::ctl
