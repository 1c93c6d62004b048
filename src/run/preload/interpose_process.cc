// The beginning and end of processes and threads: where tmemrun has something to do.
#include <dlfcn.h>
#include <fmt/format.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "run/preload/heap.h"
#include "run/preload/real_calls.h"
#include "run/preload/runtime.h"
#include "run/preload/thread_role.h"
#include "run/settings.h"

namespace {

using tmem::Result;
using tmem::run::Heap;
using tmem::run::InternalScope;
using tmem::run::kExitFailure;
using tmem::run::kSettingsVariable;
using tmem::run::Runtime;
using tmem::run::Settings;

// The function after ours. Looked up at its first call, which may come before our constructor.
template <class Function>
Function Next(std::atomic<Function>& cache, const char* name) {
  Function function = cache.load(std::memory_order_relaxed);
  if (function == nullptr) {
    const InternalScope scope;
    function = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
    cache.store(function, std::memory_order_relaxed);
  }
  return function;
}

using ForkFunction = pid_t (*)();
std::atomic<ForkFunction> next_fork{nullptr};

using ThreadMain = void* (*)(void*);
using CreateFunction = int (*)(pthread_t*, const pthread_attr_t*, ThreadMain, void*);
std::atomic<CreateFunction> next_create{nullptr};

// What a thread of ours, started by another one, runs: the client library has one.
struct ServiceThread {
  ThreadMain main;
  void* argument;
};

void* RunServiceThread(void* argument) {
  tmem::run::thread_role = tmem::run::ThreadRole::kService;
  const std::unique_ptr<ServiceThread> thread(static_cast<ServiceThread*>(argument));
  return thread->main(thread->argument);
}

void Print(const std::string& text) {
  static_cast<void>(!::write(STDERR_FILENO, text.data(), text.size()));
}

// Programs that this one starts shall run as if there were no tmemrun.
void ForgetEnvironment() {
  constexpr std::string_view kOwnName = "libtmemrun.so";
  ::unsetenv(kSettingsVariable);
  const char* const preload = ::getenv("LD_PRELOAD");
  if (preload == nullptr) return;
  std::string others;
  std::string_view rest = preload;
  while (!rest.empty()) {
    const std::string_view entry = rest.substr(0, rest.find_first_of(": "));
    rest.remove_prefix(std::min(rest.size(), entry.size() + 1));
    if (entry.empty() || entry.ends_with(kOwnName)) continue;
    others += (others.empty() ? "" : ":") + std::string(entry);
  }
  if (others.empty()) {
    ::unsetenv("LD_PRELOAD");
  } else {
    ::setenv("LD_PRELOAD", others.c_str(), 1);
  }
}

Result<void> Begin(const char* text) {
  auto settings = Settings::Decode(text);
  if (!settings) return std::unexpected(std::move(settings).error());
  if (settings->process != ::getpid()) {
    if (!settings->children) {
      ForgetEnvironment();
      return {};
    }
    settings->guest += fmt::format(".{}", ::getpid());
    settings->started = false;
  }
  // For the program that this process may become by exec.
  Settings next = *settings;
  next.guest = Settings::Decode(text)->guest;
  next.started = settings->process == ::getpid();
  ::setenv(kSettingsVariable, next.Encode().c_str(), 1);
  TMEM_TRY(Runtime::Start(*settings));
  return Heap::Start();
}

__attribute__((constructor)) void Enter() {
  const InternalScope scope;
  const char* const text = ::getenv(kSettingsVariable);
  if (text == nullptr) return;
  if (const auto begun = Begin(text); !begun) {
    Print("tmemrun: " + begun.error().message + "\n");
    tmem::run::real::Exit(kExitFailure);
  }
}

void FinishRuntime() {
  if (Runtime* const runtime = Runtime::Get()) runtime->Finish();
}

__attribute__((destructor)) void Leave() { FinishRuntime(); }

}  // namespace

extern "C" {

void _exit(int status) {
  FinishRuntime();
  tmem::run::real::Exit(status);
}

void _Exit(int status) { _exit(status); }

pid_t fork() noexcept {
  const Runtime* const runtime = Runtime::Get();
  if (runtime != nullptr && !runtime->can_fork()) {
    Print(
        "tmemrun: fork() refused: the kernel tells of forks to processes with CAP_SYS_PTRACE only "
        "(run tmemrun as root); programs started by vfork() or posix_spawn() work\n");
    errno = ENOMEM;
    return -1;
  }
  return Next(next_fork, "fork")();
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, ThreadMain main,
                   void* argument) noexcept {
  const CreateFunction create = Next(next_create, "pthread_create");
  if (tmem::run::thread_role != tmem::run::ThreadRole::kService) {
    return create(thread, attributes, main, argument);
  }
  auto service = std::make_unique<ServiceThread>(main, argument);
  const int error = create(thread, attributes, RunServiceThread, service.get());
  if (error == 0) static_cast<void>(service.release());
  return error;
}

}  // extern "C"
