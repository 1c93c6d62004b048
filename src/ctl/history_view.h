// What `tmemctl history` prints: a guest's last hour, or less if it is not here so long, as plots.
#ifndef TMEM_CTL_HISTORY_VIEW_H_
#define TMEM_CTL_HISTORY_VIEW_H_

#include <string>

#include "ctl/plot.h"
#include "daemon/stats_json.h"

namespace tmem::ctl {

using daemon::Json;

// `history` is the result of the verb. Throws nlohmann::json::exception if it is none.
std::string HistoryView(const Json& history, Glyphs glyphs);

}  // namespace tmem::ctl

#endif  // TMEM_CTL_HISTORY_VIEW_H_
