// The daemon's figures as JSON: what `list`, `show` and `stats` answer.
//
// Sizes are numbers of bytes, or "unlimited". Counters stand under the keys of counters.h.
#ifndef TMEM_DAEMON_STATS_JSON_H_
#define TMEM_DAEMON_STATS_JSON_H_

#include <nlohmann/json.hpp>
#include <span>

#include "daemon/administration.h"
#include "daemon/history.h"
#include "hypercall/backend.h"
#include "pools/stats.h"

namespace tmem::daemon {

using Json = nlohmann::ordered_json;

Json ToJson(const GuestSettings& settings);
// Every knob of the host under its name.
Json ToJson(const Config& config);
Json ToJson(const ConnectionInfo& connection);
Json ToJson(const HostInfo& host);

// All that `explain` has to say about a guest.
struct Explanation {
  const ConnectionInfo& connection;
  const GuestStats& stats;
  const GuestShare& share;
  std::span<const History::Sample> history;
  const StoreStats& store;
};
Json ExplanationJson(const Explanation& facts);

// A guest's history: each figure's series, oldest first.
Json ToJson(const GuestInfo& guest, std::span<const History::Sample> history);

// A guest with everything about it.
Json ToJson(const ConnectionInfo& connection, const GuestStats& stats);

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_STATS_JSON_H_
