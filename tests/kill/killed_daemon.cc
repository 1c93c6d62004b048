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

KilledDaemon::KilledDaemon(std::string program, std::vector<std::string> options,
                           std::function<void()> on_end)
    : program_(std::move(program)), options_(std::move(options)), on_end_(std::move(on_end)) {
  char name[] = "/dev/shm/tmem-kill-XXXXXX";
  if (mkdtemp(name) != nullptr) folder_ = name;
}

KilledDaemon::~KilledDaemon() {
  Stop(/*gently=*/false);
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

bool KilledDaemon::Start() {
  std::vector<std::string> words = {program_,
                                    "--hypervisor=loopback",
                                    "--config=/dev/null",
                                    "--loopback-socket=" + socket(),
                                    "--control-socket=" + folder_ + "/control",
                                    "--store-path=" + folder_ + "/store",
                                    "--log-level=warning"};
  words.insert(words.end(), options_.begin(), options_.end());
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  if (posix_spawn(&process_, program_.c_str(), nullptr, nullptr, arguments.data(), environ) != 0) {
    process_ = -1;
    return false;
  }
  ended_ = false;
  watcher_ = std::thread([this, process = static_cast<id_t>(process_)] {
    siginfo_t ignored;
    waitid(P_PID, process, &ignored, WEXITED | WNOWAIT);
    ended_ = true;
    on_end_();
  });
  return true;
}

bool KilledDaemon::Stop(bool gently) {
  if (process_ <= 0) return true;
  kill(process_, gently ? SIGTERM : SIGKILL);
  watcher_.join();
  int status = 0;
  waitpid(std::exchange(process_, -1), &status, 0);
  return gently ? WIFEXITED(status) && WEXITSTATUS(status) == 0
                : WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

}  // namespace tmem
