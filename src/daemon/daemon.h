// The daemon's control loop: one thread that waits for guests' state changes, administrators'
// requests, signals and the watchdog's time, and handles each in a bounded piece.
//
//   SIGTERM, SIGINT  stop: guests are disconnected, sockets removed
//   SIGHUP           reload the configuration; a bad one changes nothing
#ifndef TMEM_DAEMON_DAEMON_H_
#define TMEM_DAEMON_DAEMON_H_

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "daemon/config.h"
#include "daemon/control_handler.h"
#include "daemon/control_server.h"
#include "daemon/metrics_server.h"
#include "daemon/service.h"

namespace tmem::daemon {

// Blocks the signals that the daemon takes from a descriptor, and ignores SIGPIPE: a log that
// nobody reads any more ends nothing. Call before any thread starts, so that all inherit it.
void PrepareSignals();

// Makes room for the descriptors of all guests, as far as the hard limit allows. A shell's soft
// limit is for programs that use select(), and a few loopback guests would reach it.
void RaiseDescriptorLimit();

class Daemon {
 public:
  // Everything up to serving guests. `config` is what `source` gave; reloads read it again.
  // REQUIRES: PrepareSignals() was called.
  static Result<std::unique_ptr<Daemon>> Create(const Config& config, ConfigSource source);

  // Returns after a signal to stop, or with what made the loop fail.
  Result<void> Run();

 private:
  explicit Daemon(ConfigSource source) : source_(std::move(source)) {}

  Result<void> ServeMetrics(const std::string& address);
  Result<void> WaitAndHandle();
  void HandleSignal();
  void Reload();
  void FeedWatchdog();
  void ReportRecovery();
  int Timeout() const;

  const ConfigSource source_;
  const SteadyClock clock_;
  UniqueFd signals_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<ControlHandler> handler_;
  std::unique_ptr<ControlServer> server_;
  std::unique_ptr<MetricsServer> metrics_;  // null: nobody asked for metrics
  std::optional<std::chrono::milliseconds> watchdog_interval_;
  TimePoint watchdog_due_{};
  bool recovering_ = false;  // the search for pages of a daemon before this one was not over
  TimePoint recovery_report_due_{};
  bool stopping_ = false;
};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_DAEMON_H_
