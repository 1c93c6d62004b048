// How tmemd ends: one number for each cause that an administrator treats differently.
// docs/tmemd.md lists them; they never change their meaning.
#ifndef TMEM_DAEMON_EXIT_STATUS_H_
#define TMEM_DAEMON_EXIT_STATUS_H_

#include "base/result.h"

namespace tmem::daemon {

enum class ExitStatus : int {
  kOk = 0,
  kFailure = 1,         // anything that has no number of its own
  kUsage = 2,           // the command line is wrong
  kConfiguration = 3,   // the configuration file is wrong or missing
  kPermission = 4,      // a file or socket may not be used
  kAlreadyRunning = 5,  // another tmemd holds the socket
  kUnsupported = 6,     // this build, or this host, has not that hypervisor
};

// For what fails while the daemon starts.
constexpr ExitStatus ExitStatusOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kDenied:
      return ExitStatus::kPermission;
    case ErrorCode::kExists:
      return ExitStatus::kAlreadyRunning;
    case ErrorCode::kUnsupported:
      return ExitStatus::kUnsupported;
    default:
      return ExitStatus::kFailure;
  }
}

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_EXIT_STATUS_H_
