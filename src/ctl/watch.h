// `tmemctl xenstore watch`: tells which nodes of the directory change, by looking again and again.
// A node that changes twice between two looks is told once, as xenstore folds events.
#ifndef TMEM_CTL_WATCH_H_
#define TMEM_CTL_WATCH_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "ctl/command_line.h"

namespace tmem::ctl {

// Values by path.
using Nodes = std::map<std::string, std::string>;

// A line for each node that came, changed or went: "PATH = "VALUE"", or "PATH is gone".
std::vector<std::string> ChangedNodes(const Nodes& before, const Nodes& after);

using AskDaemon = std::function<Result<Json>(const Request&)>;

// Prints all nodes at and below the path, then changes as they come, until so many lines were
// printed or the daemon goes away.
Result<void> WatchNodes(const WatchOptions& options, const AskDaemon& ask);

}  // namespace tmem::ctl

#endif  // TMEM_CTL_WATCH_H_
