// tmemd's command line.
#ifndef TMEM_DAEMON_COMMAND_LINE_H_
#define TMEM_DAEMON_COMMAND_LINE_H_

#include <string>
#include <variant>

#include "daemon/config.h"
#include "daemon/exit_status.h"

namespace tmem::daemon {

// Serve, or only check the configuration.
struct Order {
  ConfigSource source;
  bool check_only = false;
};

// Nothing to serve: print the text (on standard error if the status is not kOk) and end.
struct Reply {
  ExitStatus status = ExitStatus::kOk;
  std::string text;
};

std::variant<Order, Reply> ParseCommandLine(int argc, const char* const* argv);

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_COMMAND_LINE_H_
