// tmemctl: see docs/tmemctl.md.
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <variant>

#include "ctl/command_line.h"
#include "ctl/commands.h"
#include "ctl/exit_status.h"

namespace tmem::ctl {
namespace {

ExitStatus Print(const Reply& reply) {
  std::fputs(reply.text.c_str(), reply.status == ExitStatus::kOk ? stdout : stderr);
  return reply.status;
}

ExitStatus Failed(const Error& error) {
  return Print({ExitStatusOf(error.code), "tmemctl: " + error.message + "\n"});
}

ExitStatus Main(int argc, const char* const* argv) {
  auto parsed = ParseCommandLine(argc, argv);
  if (const Reply* const reply = std::get_if<Reply>(&parsed)) return Print(*reply);
  try {
    const auto done = Obey(std::get<Order>(std::move(parsed)));
    if (!done) return Failed(done.error());
  } catch (const nlohmann::json::exception&) {
    return Failed({ErrorCode::kUnsupported,
                   "the daemon's answer is not understood; use the tmemctl that came with it"});
  }
  // A pipe that closed early, or a full disk.
  if (std::fflush(stdout) != 0) return Failed(SystemError("standard output"));
  return ExitStatus::kOk;
}

}  // namespace
}  // namespace tmem::ctl

int main(int argc, char** argv) { return static_cast<int>(tmem::ctl::Main(argc, argv)); }
