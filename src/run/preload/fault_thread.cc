#include "run/preload/fault_thread.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <condition_variable>
#include <csignal>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "base/units.h"
#include "client/tmem_client.h"
#include "run/counters.h"
#include "run/fault_loop.h"
#include "run/forked_children.h"
#include "run/page_table.h"
#include "run/preload/thread_role.h"
#include "run/residency.h"
#include "run/spill_file.h"
#include "run/uffd_space.h"

namespace tmem::run {

namespace {

// A program that called exec comes back under its own name, which the daemon may not have let go
// yet.
constexpr int kReconnectTries = 100;
constexpr timespec kReconnectPause{0, 20'000'000};

void Print(const std::string& text) {
  static_cast<void>(!::write(STDERR_FILENO, text.data(), text.size()));
}

// Content of the program is lost: it must not run on.
[[noreturn]] void Fatal(const std::string& message) {
  Print("tmemrun: " + message + "; the program was stopped\n");
  ::syscall(SYS_exit_group, kExitFailure);
  __builtin_unreachable();
}

// Leaves this thread with standard error, the guardian's socket, and nothing of the program's.
bool SeparateDescriptors(int keep) {
  if (::unshare(CLONE_FILES) != 0) return false;
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return false;
  ::dup2(null, STDIN_FILENO);
  ::dup2(null, STDOUT_FILENO);
  unsigned next = STDERR_FILENO + 1;
  if (keep >= 0) {
    ::syscall(SYS_close_range, next, keep - 1, 0);
    next = static_cast<unsigned>(keep) + 1;
  }
  return ::syscall(SYS_close_range, next, ~0U, 0) == 0;
}

Result<tmem_client*> Connect(const Settings& settings) {
  const char* const socket = settings.socket.empty() ? nullptr : settings.socket.c_str();
  std::string error(256, '\0');
  for (int tries = settings.started ? kReconnectTries : 1;; --tries) {
    const tmem_options options{};
    tmem_client* const client =
        tmem_connect(socket, settings.guest.c_str(), &options, error.data(), error.size());
    if (client != nullptr) return client;
    if (tries <= 1) break;
    ::nanosleep(&kReconnectPause, nullptr);
  }
  error.resize(error.find('\0'));
  return Fail(ErrorCode::kUnavailable, std::move(error));
}

// All that serves the arena; lives as long as the thread.
class FaultService {
 public:
  static Result<std::unique_ptr<FaultService>> Open(FaultThreadOptions options) {
    auto space = UffdSpace::Open(options.base, options.pages);
    if (!space) return std::unexpected(std::move(space).error());
    std::optional<SpillFile> spill;
    if (options.settings.spill != Settings::kNoSpill) {
      auto file = SpillFile::Create(options.settings.spill);
      if (!file) return std::unexpected(std::move(file).error());
      spill = std::move(*file);
    }
    auto client = Connect(options.settings);
    if (!client) return std::unexpected(std::move(client).error());
    const int pool = tmem_new_pool(*client, nullptr, TMEM_POOL_PERSIST);
    if (pool < 0) {
      return Fail(ErrorCode::kExhausted, fmt::format("tmemd refuses a pool to guest {} (error {})",
                                                     options.settings.guest, -pool));
    }
    return std::unique_ptr<FaultService>(
        new FaultService(std::move(options), std::move(*space), *client, pool, std::move(spill)));
  }

  bool follows_forks() const { return space_->follows_forks(); }
  void Run() { loop_.Run(); }

 private:
  FaultService(FaultThreadOptions options, std::unique_ptr<UffdSpace> space, tmem_client* client,
               int pool, std::optional<SpillFile> spill)
      : options_(std::move(options)),
        space_(std::move(space)),
        table_(options_.pages),
        backing_(client, pool, std::move(spill), counters_),
        residency_({.limit_pages = LimitPages(), .read_ahead_pages = options_.settings.read_ahead},
                   table_, *space_, backing_, counters_, Fatal),
        children_(table_, backing_, counters_, options_.guardian.get(),
                  options_.settings.read_ahead, Fatal),
        loop_(*space_, *options_.doorbells, residency_, children_, [this] { Report(); }) {}

  uint32_t LimitPages() const {
    const uint64_t pages = options_.settings.resident.value / kPageSize;
    return static_cast<uint32_t>(std::min<uint64_t>(pages, options_.pages));
  }

  void Report() const {
    const Settings& settings = options_.settings;
    if (settings.stats) Print(FormatTable(counters_, settings.guest));
    if (settings.stats_json.empty()) return;
    const std::string json = FormatJson(counters_, settings.guest);
    const UniqueFd file(
        ::open(settings.stats_json.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!file || ::write(file.get(), json.data(), json.size()) < 0) {
      Print("tmemrun: " + SystemError("cannot write " + settings.stats_json).message + "\n");
    }
  }

  const FaultThreadOptions options_;
  const std::unique_ptr<UffdSpace> space_;
  Counters counters_;
  PageTable table_;
  Backing backing_;
  Residency residency_;
  ForkedChildren children_;
  FaultLoop loop_;
};

// How the thread tells its starter.
struct Start {
  FaultThreadOptions options;
  std::mutex mutex;
  std::condition_variable done;
  std::optional<Result<FaultThreadInfo>> result;
};

void Tell(Start& start, Result<FaultThreadInfo> result) {
  const std::lock_guard lock(start.mutex);
  start.result = std::move(result);
  start.done.notify_one();
}

void* Main(void* argument) {
  thread_role = ThreadRole::kService;
  Start& start = *static_cast<Start*>(argument);
  ::prctl(PR_SET_NAME, "tmemrun");
  const int keep = start.options.guardian ? start.options.guardian->fd() : -1;
  if (!SeparateDescriptors(keep)) {
    Tell(start, std::unexpected(SystemError("cannot set up the fault thread")));
    return nullptr;
  }
  auto service = FaultService::Open(std::move(start.options));
  if (!service) {
    Tell(start, std::unexpected(std::move(service).error()));
    return nullptr;
  }
  Tell(start, FaultThreadInfo{.follows_forks = (*service)->follows_forks()});
  // `start` is gone from here on.
  (*service)->Run();
  return nullptr;
}

}  // namespace

Result<FaultThreadInfo> StartFaultThread(FaultThreadOptions options) {
  Start start;
  const int guardian = options.guardian ? options.guardian->fd() : -1;
  start.options = std::move(options);
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const int error = ::pthread_create(&thread, nullptr, Main, &start);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) return std::unexpected(SystemError("pthread_create", error));
  ::pthread_detach(thread);
  std::unique_lock lock(start.mutex);
  start.done.wait(lock, [&] { return start.result.has_value(); });
  // The thread has its own descriptor of it; the program shall have none.
  if (guardian >= 0) ::close(guardian);
  return std::move(*start.result);
}

}  // namespace tmem::run
