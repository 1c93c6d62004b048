// tmemd: see docs/tmemd.md.
#include <spdlog/spdlog.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <variant>

#include "daemon/command_line.h"
#include "daemon/config.h"
#include "daemon/daemon.h"
#include "daemon/exit_status.h"
#include "daemon/logging.h"

namespace tmem::daemon {
namespace {

ExitStatus Print(const Reply& reply) {
  std::fputs(reply.text.c_str(), reply.status == ExitStatus::kOk ? stdout : stderr);
  return reply.status;
}

bool UnderJournal() { return StderrIsJournal(std::getenv("JOURNAL_STREAM")); }

// Ends the start: one line, for the journal or for whoever sits at the terminal.
ExitStatus Fail(const Error& error, ExitStatus status) {
  if (UnderJournal()) {
    spdlog::error("{}", error.message);
  } else {
    std::fprintf(stderr, "tmemd: %s\n", error.message.c_str());
  }
  return status;
}

ExitStatus Obey(Order order) {
  InstallLogger(UnderJournal());
  const auto config = LoadConfig(order.source);
  if (!config) {
    return Fail(config.error(), config.error().code == ErrorCode::kDenied
                                    ? ExitStatus::kPermission
                                    : ExitStatus::kConfiguration);
  }
  if (order.check_only) return Print({ExitStatus::kOk, order.source.path + ": ok\n"});

  SetLogLevel(config->log_level);
  PrepareSignals();
  RaiseDescriptorLimit();
  auto daemon = Daemon::Create(*config, std::move(order.source));
  if (!daemon) return Fail(daemon.error(), ExitStatusOf(daemon.error().code));
  const auto ran = (*daemon)->Run();
  return ran ? ExitStatus::kOk : Fail(ran.error(), ExitStatus::kFailure);
}

ExitStatus Main(int argc, const char* const* argv) {
  auto parsed = ParseCommandLine(argc, argv);
  if (const Reply* const reply = std::get_if<Reply>(&parsed)) return Print(*reply);
  return Obey(std::get<Order>(std::move(parsed)));
}

}  // namespace
}  // namespace tmem::daemon

int main(int argc, char** argv) { return static_cast<int>(tmem::daemon::Main(argc, argv)); }
