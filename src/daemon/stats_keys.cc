#include "daemon/stats_keys.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "daemon/tuning.h"

namespace tmem::daemon {

namespace {

std::map<std::string, std::string> TextsOf(const GuestStats& guest) {
  const auto pages = [&](PageClass page_class) {
    return guest.stored[static_cast<size_t>(page_class)].pages;
  };
  const PoolCounters& counters = guest.counters;
  const std::pair<const char*, uint64_t> figures[] = {
      {"used-bytes", guest.charged.value},
      {"ephemeral-pages", pages(PageClass::kEphemeral)},
      {"persistent-pages", pages(PageClass::kPersistent)},
      {"puts", counters.puts},
      {"puts-stored", counters.puts_stored},
      {"puts-refused", counters.puts_no_memory + counters.puts_frozen},
      {"gets", counters.gets},
      {"gets-found", counters.gets_found},
      {"evicted", counters.evicted}};
  std::map<std::string, std::string> texts;
  for (const auto& [name, figure] : figures) texts[name] = fmt::format("{}", figure);
  return texts;
}

}  // namespace

void StatsKeys::Update(std::span<const GuestStats> guests) {
  const auto first = std::ranges::lower_bound(guests, next_, {}, &GuestStats::id);
  const auto offset = static_cast<size_t>(first - guests.begin());
  size_t left = kGuestsAnUpdate;
  for (size_t i = 0; i < guests.size(); ++i) {
    const GuestStats& guest = guests[(offset + i) % guests.size()];
    if (left == 0) {
      next_ = guest.id;
      return;
    }
    if (UpdateOne(guest)) --left;
  }
}

bool StatsKeys::UpdateOne(const GuestStats& guest) {
  const std::string folder = fmt::format("{}/stats", GuestTuningPath(guest.id));
  Texts texts = TextsOf(guest);
  Texts& written = written_[guest.id];
  std::vector<Directory::Node> nodes;
  if (written.empty()) {  // its keys inherit who may read them
    nodes.push_back({.path = folder,
                     .value = "",
                     .permissions = {{.owner = kBackendDomain, .reader = guest.id}}});
  }
  for (const auto& [name, text] : texts) {
    const auto at = written.find(name);
    if (at != written.end() && at->second == text) continue;
    nodes.push_back({.path = fmt::format("{}/{}", folder, name), .value = text, .permissions = {}});
  }
  if (nodes.empty()) return false;
  const auto done = directory_.WriteAll(nodes);
  if (done) {
    written = std::move(texts);
  } else if (!failing_) {
    spdlog::warn("statistics of guest {} are not in xenstore: {}", guest.id.value,
                 done.error().message);
  }
  failing_ = !done;
  return true;
}

void StatsKeys::Forget(GuestId guest) { written_.erase(guest); }

}  // namespace tmem::daemon
