// tmemctl's command line.
#ifndef TMEM_CTL_COMMAND_LINE_H_
#define TMEM_CTL_COMMAND_LINE_H_

#include <string>
#include <variant>
#include <vector>

#include "ctl/exit_status.h"
#include "ctl/top_screen.h"
#include "daemon/stats_json.h"

namespace tmem::ctl {

using daemon::Json;

// What to do with the daemon's answer to a request.
enum class Show {
  kNothing,
  kVersion,
  kList,
  kNames,
  kGuest,
  kHostCounters,
  kGuestCounters,
  kPools,
  kExplain,
  kHistory,
  kSettings,
  kHostSettings,
  kHostChanges,
  kFlushed,
  kFreeable,
  kReclaimed,
  kNodeValue,
  kNodes,
};

struct Request {
  std::string verb;
  Json fields = Json::object();
  Show show = Show::kNothing;
};

// Look at a node of the directory and all below it, again and again, and tell what changed.
struct WatchOptions {
  std::string path;
  uint32_t changes = 0;  // to tell before it ends; 0: for ever
};

// Requests to send, in order, or something to watch.
struct Order {
  std::string socket;
  bool json = false;  // print results as they came
  std::variant<std::vector<Request>, TopOptions, WatchOptions> task;
};

// Nothing to ask: print the text (on standard error if the status is not kOk) and end.
struct Reply {
  ExitStatus status = ExitStatus::kOk;
  std::string text;
};

std::variant<Order, Reply> ParseCommandLine(int argc, const char* const* argv);

}  // namespace tmem::ctl

#endif  // TMEM_CTL_COMMAND_LINE_H_
