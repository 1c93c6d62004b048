// Tells systemd how the daemon is (sd_notify(3)). Does nothing when systemd is not there.
//
// Threads: the control thread.
#ifndef TMEM_DAEMON_SERVICE_NOTIFIER_H_
#define TMEM_DAEMON_SERVICE_NOTIFIER_H_

#include <chrono>
#include <optional>
#include <string>

namespace tmem::daemon::service_notifier {

void Ready(const std::string& status);
void Reloading();  // Ready() ends it
void Stopping();
void Alive(const std::string& status);

// How often systemd wants to hear Alive(): half of WatchdogSec=; nullopt if never.
std::optional<std::chrono::milliseconds> WatchdogInterval();

}  // namespace tmem::daemon::service_notifier

#endif  // TMEM_DAEMON_SERVICE_NOTIFIER_H_
