#include "ctl/watch.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <thread>

#include "ctl/table.h"
#include "daemon/control_protocol.h"

namespace tmem::ctl {

namespace {

constexpr std::chrono::milliseconds kLookAgainAfter{200};

// A node that is not there has nothing at or below it.
Result<Nodes> Look(const std::string& path, const AskDaemon& ask) {
  const auto result = ask({.verb = std::string(daemon::verb::kXenstoreList),
                           .fields = {{daemon::field::kPath, path}},
                           .show = Show::kNodes});
  if (!result && result.error().code == ErrorCode::kNotFound) return Nodes();
  if (!result) return std::unexpected(result.error());
  Nodes nodes;
  for (const Json& node : result->at("nodes")) {
    nodes[node.at("path").get<std::string>()] = node.at("value").get<std::string>();
  }
  return nodes;
}

}  // namespace

std::vector<std::string> ChangedNodes(const Nodes& before, const Nodes& after) {
  std::vector<std::string> lines;
  for (const auto& [path, value] : after) {
    const auto at = before.find(path);
    if (at != before.end() && at->second == value) continue;
    lines.push_back(fmt::format("{} = \"{}\"", Printable(path), Printable(value)));
  }
  for (const auto& [path, value] : before) {
    if (!after.contains(path)) lines.push_back(fmt::format("{} is gone", Printable(path)));
  }
  return lines;
}

Result<void> WatchNodes(const WatchOptions& options, const AskDaemon& ask) {
  Nodes seen;
  for (uint32_t told = 0; true; std::this_thread::sleep_for(kLookAgainAfter)) {
    auto now = Look(options.path, ask);
    if (!now) return std::unexpected(std::move(now).error());
    for (const std::string& line : ChangedNodes(seen, *now)) {
      std::puts(line.c_str());
      if (++told == options.changes) return {};
    }
    std::fflush(stdout);
    seen = *std::move(now);
  }
}

}  // namespace tmem::ctl
