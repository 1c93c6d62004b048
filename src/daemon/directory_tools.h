// What xenstore's own tools do, for the directory of a hypervisor that has none: nodes by path, as
// JSON. Bounded, whatever the directory holds.
//
// Threads: the directory's.
#ifndef TMEM_DAEMON_DIRECTORY_TOOLS_H_
#define TMEM_DAEMON_DIRECTORY_TOOLS_H_

#include <cstddef>
#include <string>

#include "base/result.h"
#include "daemon/stats_json.h"
#include "hypercall/transport.h"

namespace tmem::daemon {

inline constexpr size_t kMaxListedNodes = 20'000;

// {"nodes": [{"path": ..., "value": ...}, ...], "truncated": false}: the node and all below it,
// each before those below it, in the order of their names. kNotFound if there is no such node.
Result<Json> ListNodes(Directory& directory, const std::string& path);

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_DIRECTORY_TOOLS_H_
