// The daemon's answers as text for people. The text may change from release to release: scripts
// use --json.
//
// Each takes the result of the verb that it is named after (daemon/stats_json.h makes them) and
// throws nlohmann::json::exception if that is not what it should be.
#ifndef TMEM_CTL_VIEWS_H_
#define TMEM_CTL_VIEWS_H_

#include <string>

#include "daemon/stats_json.h"

namespace tmem::ctl {

using daemon::Json;

std::string ListView(const Json& guests);
std::string ShowView(const Json& guest);
std::string SettingsView(const Json& settings);
std::string HostSettingsView(const Json& settings);
std::string HostChangesView(const Json& result);
std::string FreeableView(const Json& freeable);
std::string ReclaimedView(const Json& reclaimed);
std::string NodesView(const Json& nodes);

// All counters of the host, of a guest, and of each pool of a guest.
std::string HostView(const Json& host);
std::string CountersView(const Json& guest);
std::string PoolsView(const Json& guest);

// "57.1%", or "-" if there was nothing to share.
std::string Percent(double part, double whole);

}  // namespace tmem::ctl

#endif  // TMEM_CTL_VIEWS_H_
