#include "daemon/service_notifier.h"

#include <systemd/sd-daemon.h>

#include <cstdint>

namespace tmem::daemon::service_notifier {

namespace {

// A failure means that nobody listens, which is none of ours.
void Tell(const std::string& state) { (void)::sd_notify(/*unset_environment=*/0, state.c_str()); }

}  // namespace

void Ready(const std::string& status) { Tell("READY=1\nSTATUS=" + status); }
void Reloading() { Tell("RELOADING=1\nSTATUS=reading the configuration"); }
void Stopping() { Tell("STOPPING=1\nSTATUS=stopping"); }
void Alive(const std::string& status) { Tell("WATCHDOG=1\nSTATUS=" + status); }

std::optional<std::chrono::milliseconds> WatchdogInterval() {
  uint64_t microseconds = 0;
  if (::sd_watchdog_enabled(/*unset_environment=*/0, &microseconds) <= 0) return std::nullopt;
  return std::chrono::milliseconds(microseconds / 2000);
}

}  // namespace tmem::daemon::service_notifier
