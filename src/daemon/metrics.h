// The daemon's figures as Prometheus metrics. Names, units and types follow Prometheus'
// conventions; docs/tmemd.md, "Metrics", tells what there is.
//
// A guest's label `guest` is its name, with marks in place of what is no UTF-8; `domid` keeps those
// apart that look the same.
#ifndef TMEM_DAEMON_METRICS_H_
#define TMEM_DAEMON_METRICS_H_

#include <prometheus/metric_family.h>

#include <vector>

#include "daemon/administration.h"

namespace tmem::daemon {

// Threads: the administration's.
std::vector<prometheus::MetricFamily> CollectMetrics(const Administration& administration);

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_METRICS_H_
