// A tmemd that is killed and started again, on the same sockets and the same store.
//
// One thread, but where a call says otherwise.
#ifndef TMEM_TESTS_KILL_KILLED_DAEMON_H_
#define TMEM_TESTS_KILL_KILLED_DAEMON_H_

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace tmem {

class KilledDaemon {
 public:
  // Makes a folder on a tmpfs. `options` are tmemd's. `on_end` is called on a thread of ours
  // whenever the daemon ended, by Stop() or by itself.
  KilledDaemon(std::string program, std::vector<std::string> options, std::function<void()> on_end);
  // Kills it and removes the folder.
  ~KilledDaemon();

  // False if it cannot be executed.
  bool Start();
  // SIGKILL, or SIGTERM if `gently`. False if it had ended already, or ends with a failure.
  bool Stop(bool gently);
  // Any thread.
  bool ended() const { return ended_.load(); }

  const std::string& folder() const { return folder_; }
  std::string socket() const { return folder_ + "/loopback"; }

 private:
  const std::string program_;
  const std::vector<std::string> options_;
  const std::function<void()> on_end_;
  std::string folder_;
  pid_t process_ = -1;
  std::thread watcher_;  // of the process
  std::atomic<bool> ended_{true};
};

}  // namespace tmem

#endif  // TMEM_TESTS_KILL_KILLED_DAEMON_H_
