// tmemrun: runs a program with its memory under tmem. See docs/tmemrun.md.
//
// Checks what can be checked, then becomes the program, with libtmemrun.so preloaded; the library
// does the rest.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <expected>
#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "run/program.h"
#include "run/settings.h"

namespace {

using namespace tmem;
using namespace tmem::run;

struct Arguments {
  Settings settings;
  std::string resident = "64M";
  std::string library;
  std::vector<std::string> command;
};

int Complain(int status, const std::string& message) {
  fmt::print(stderr, "tmemrun: {}\n", message);
  return status;
}

void DefineOptions(CLI::App& app, Arguments& arguments) {
  Settings& settings = arguments.settings;
  app.add_option("--resident", arguments.resident,
                 "Keep at most this much of the program's heap in memory (at least 1M)")
      ->capture_default_str();
  app.add_option("--guest", settings.guest,
                 "Name of the guest at tmemd (default: program name and process id)");
  app.add_option("--socket", settings.socket,
                 "Socket of tmemd's loopback (default: $TMEM_SOCKET, else "
                 "/run/tmemd/loopback.sock)");
  app.add_option("--spill", settings.spill,
                 "Directory for pages that tmemd refuses, or 'none': they stay in memory")
      ->capture_default_str();
  app.add_option("--readahead", settings.read_ahead,
                 "Bring back at most this many pages at a sequential fault; 1: no more than asked")
      ->check(CLI::Range(1u, Settings::kMaxReadAhead))
      ->capture_default_str();
  app.add_flag("--children", settings.children,
               "Programs that the program starts run under tmem too, each as a guest GUEST.PID");
  app.add_flag("--stats", settings.stats, "Print figures to standard error at exit");
  app.add_option("--stats-json", settings.stats_json, "Write the figures to this file at exit");
  app.add_option("--library", arguments.library, "Preload this libtmemrun.so")->group("");
  app.add_option("command", arguments.command, "The program and its arguments, after --")
      ->required();
}

// Beside tmemrun in the build tree, or where it was installed relative to it.
std::string FindLibrary() {
  const auto directory = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  for (const auto& place : {directory, directory / TMEMRUN_LIBRARY_FROM_BIN}) {
    const auto candidate = (place / "libtmemrun.so").lexically_normal();
    if (std::filesystem::exists(candidate)) return candidate;
  }
  return {};
}

std::string DefaultGuest(const std::string& program) {
  std::string name;
  for (const char c : std::filesystem::path(program).filename().string().substr(0, 40)) {
    const bool allowed = std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_';
    name += allowed ? c : '-';
  }
  return fmt::format("{}-{}", name, ::getpid());
}

// Brings the options into the form the library takes.
Result<void> Complete(Arguments& arguments) {
  Settings& settings = arguments.settings;
  const auto resident = ParseBytes(arguments.resident);
  if (!resident) return std::unexpected(Error(resident.error()).Within("--resident"));
  if (resident->value < Settings::kMinResidentBytes) {
    return Fail(ErrorCode::kInvalid, "--resident: must be at least 1M");
  }
  settings.resident = *resident;
  settings.process = ::getpid();
  if (settings.guest.empty()) settings.guest = DefaultGuest(arguments.command[0]);
  // The program may change its directory.
  for (std::string* path : {&settings.stats_json, &settings.socket, &settings.spill}) {
    if (path->empty() || *path == Settings::kNoSpill) continue;
    *path = std::filesystem::absolute(*path);
  }
  if (arguments.library.empty()) arguments.library = FindLibrary();
  if (arguments.library.empty() || !std::filesystem::exists(arguments.library)) {
    return Fail(ErrorCode::kNotFound,
                "libtmemrun.so is neither beside tmemrun nor where it is installed");
  }
  arguments.library = std::filesystem::absolute(arguments.library);
  return {};
}

int Execute(const Arguments& arguments, const std::string& path) {
  const char* const others = std::getenv("LD_PRELOAD");
  const std::string preload =
      arguments.library + (others != nullptr ? ":" + std::string(others) : std::string());
  ::setenv("LD_PRELOAD", preload.c_str(), 1);
  ::setenv(kSettingsVariable, arguments.settings.Encode().c_str(), 1);
  std::vector<char*> argv;
  for (const std::string& word : arguments.command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  ::execv(path.c_str(), argv.data());
  return Complain(kExitCannotExecute, SystemError(path).message);
}

int Run(int argc, char** argv) {
  CLI::App app{
      "Runs a program with at most so much of its heap in memory; the rest is kept by tmemd.\n"
      "Exit status: the program's; 125 tmemrun failed, 126 the program cannot be run under it,\n"
      "127 there is no such program."};
  Arguments arguments;
  DefineOptions(app, arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    return Complain(kExitFailure, fmt::format("{} (see tmemrun --help)", error.what()));
  }
  if (const auto completed = Complete(arguments); !completed) {
    return Complain(kExitFailure, completed.error().message);
  }
  const auto path = FindProgram(arguments.command[0]);
  if (!path) return Complain(path.error().exit_status, path.error().message);
  return Execute(arguments, *path);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return Run(argc, argv);
  } catch (const std::exception& error) {
    return Complain(kExitFailure, error.what());
  }
}
