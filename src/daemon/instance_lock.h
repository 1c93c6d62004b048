// Keeps a second tmemd off a control socket: a locked file beside it, for the daemon's lifetime.
// The kernel drops the lock with the process, so that a killed daemon leaves nothing in the way.
#ifndef TMEM_DAEMON_INSTANCE_LOCK_H_
#define TMEM_DAEMON_INSTANCE_LOCK_H_

#include <string>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"

namespace tmem::daemon {

class InstanceLock {
 public:
  // kExists if another process holds it. A missing folder (its last part only) is made.
  static Result<InstanceLock> Take(const std::string& path);

  InstanceLock(InstanceLock&&) noexcept = default;
  InstanceLock& operator=(InstanceLock&&) = delete;
  ~InstanceLock();  // removes the file

 private:
  InstanceLock(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  std::string path_;
  UniqueFd fd_;
};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_INSTANCE_LOCK_H_
