// Answers Prometheus, at /metrics of a loopback address. The HTTP is prometheus-cpp's, on threads
// of its own; what it answers is collected by the control thread, which is asked through a
// descriptor.
//
// Threads: the control thread.
#ifndef TMEM_DAEMON_METRICS_SERVER_H_
#define TMEM_DAEMON_METRICS_SERVER_H_

#include <prometheus/metric_family.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace tmem::daemon {

class MetricsServer {
 public:
  // A scrape that the control thread has not answered by then is answered without our metrics.
  static constexpr std::chrono::seconds kPatience{5};

  using Collect = std::function<std::vector<prometheus::MetricFamily>()>;

  // `address` as the knob metrics.address has it, not empty. kDenied if nobody can listen there.
  static Result<std::unique_ptr<MetricsServer>> Create(const std::string& address, Collect collect);
  ~MetricsServer();

  int port() const;

  // Readable when a scrape waits; then call HandleEvents.
  int fd() const;
  void HandleEvents();

 private:
  class Impl;
  explicit MetricsServer(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_METRICS_SERVER_H_
