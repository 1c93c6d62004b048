#include "kill/killed_daemon.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <utility>
#include <vector>

extern char** environ;

namespace tmem {

KilledDaemon::KilledDaemon(std::string program, std::string capacity)
    : program_(std::move(program)), capacity_(std::move(capacity)) {
  char name[] = "/dev/shm/tmem-kill-XXXXXX";
  if (mkdtemp(name) != nullptr) folder_ = name;
}

KilledDaemon::~KilledDaemon() {
  Stop(/*gently=*/false);
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

bool KilledDaemon::Start() {
  std::vector<std::string> words = {program_,           "--hypervisor",       "loopback",
                                    "--config",         "/dev/null",          "--capacity",
                                    capacity_,          "--loopback-socket",  socket(),
                                    "--control-socket", folder_ + "/control", "--store-path",
                                    folder_ + "/store", "--log-level",        "warning"};
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  return posix_spawn(&process_, program_.c_str(), nullptr, nullptr, arguments.data(), environ) == 0;
}

bool KilledDaemon::Stop(bool gently) {
  if (process_ <= 0) return true;
  kill(process_, gently ? SIGTERM : SIGKILL);
  int status = 0;
  waitpid(std::exchange(process_, -1), &status, 0);
  return gently ? WIFEXITED(status) && WEXITSTATUS(status) == 0
                : WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

}  // namespace tmem
