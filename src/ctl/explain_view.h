// What `tmemctl explain` prints: a guest's share and how it came about, why puts were refused and
// pages evicted, and what would change that, in sentences with figures.
#ifndef TMEM_CTL_EXPLAIN_VIEW_H_
#define TMEM_CTL_EXPLAIN_VIEW_H_

#include <string>

#include "daemon/stats_json.h"

namespace tmem::ctl {

using daemon::Json;

// `explained` is the result of the verb. Throws nlohmann::json::exception if it is none.
std::string ExplainView(const Json& explained);

}  // namespace tmem::ctl

#endif  // TMEM_CTL_EXPLAIN_VIEW_H_
