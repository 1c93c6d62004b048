// How long a worker polls the rings before it sleeps.
//
// Polling saves a wake-up (a few microseconds of latency on either side) when the next request
// comes soon, and wastes the processor when it does not. The window follows the idle periods seen,
// as KVM's halt polling does (Linux, virt/kvm/kvm_main.c): an idle period that a longer window,
// within the limit, would have covered doubles it; one beyond the limit halves it, down to none.
//
// Not thread-safe: belongs to one worker.
#ifndef TMEM_DAEMON_ADAPTIVE_SPIN_H_
#define TMEM_DAEMON_ADAPTIVE_SPIN_H_

#include <algorithm>

#include "base/clock.h"

namespace tmem::daemon {

class AdaptiveSpin {
 public:
  explicit AdaptiveSpin(Duration limit) : limit_(limit) {}

  // The window stays within the new limit; a limit of zero means never to poll.
  void SetLimit(Duration limit) {
    limit_ = limit;
    window_ = std::min(window_, limit);
  }

  // How long to poll from the last request on.
  Duration window() const { return window_; }

  // An idle period is over: `idle` passed between two requests.
  void Observe(Duration idle) {
    if (idle <= window_) return;  // polling caught it
    const Duration least = limit_ / kSteps;
    if (idle <= limit_) {
      window_ = std::min(std::max(window_ * 2, least), limit_);
    } else {
      window_ = window_ / 2 < least ? Duration::zero() : window_ / 2;
    }
  }

 private:
  static constexpr int kSteps = 8;  // the smallest window is a limit's eighth

  Duration limit_;
  Duration window_{0};
};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_ADAPTIVE_SPIN_H_
