// How tmemctl ends. docs/tmemctl.md lists the numbers; they never change their meaning.
#ifndef TMEM_CTL_EXIT_STATUS_H_
#define TMEM_CTL_EXIT_STATUS_H_

#include "base/result.h"

namespace tmem::ctl {

enum class ExitStatus : int {
  kOk = 0,
  kFailure = 1,      // the daemon refused, or there is no such guest
  kUsage = 2,        // the command line is wrong
  kUnreachable = 3,  // no daemon answers
  kPermission = 4,   // we may not speak to the daemon
};

constexpr ExitStatus ExitStatusOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUnavailable:
      return ExitStatus::kUnreachable;
    case ErrorCode::kDenied:
      return ExitStatus::kPermission;
    default:
      return ExitStatus::kFailure;
  }
}

}  // namespace tmem::ctl

#endif  // TMEM_CTL_EXIT_STATUS_H_
