// A tmemd that is killed and started again, on the same sockets and the same store.
//
// One thread.
#ifndef TMEM_TESTS_KILL_KILLED_DAEMON_H_
#define TMEM_TESTS_KILL_KILLED_DAEMON_H_

#include <sys/types.h>

#include <string>

namespace tmem {

class KilledDaemon {
 public:
  // Makes a folder on a tmpfs. `capacity` as tmemd's option.
  KilledDaemon(std::string program, std::string capacity);
  // Kills it and removes the folder.
  ~KilledDaemon();

  // False if it cannot be executed.
  bool Start();
  // SIGKILL, or SIGTERM if `gently`. False if it had ended already, or ends with a failure.
  bool Stop(bool gently);

  std::string socket() const { return folder_ + "/loopback"; }

 private:
  const std::string program_;
  const std::string capacity_;
  std::string folder_;
  pid_t process_ = -1;
};

}  // namespace tmem

#endif  // TMEM_TESTS_KILL_KILLED_DAEMON_H_
