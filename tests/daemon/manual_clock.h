// A clock that the test turns, while other threads may look at it.
#ifndef TMEM_TESTS_DAEMON_MANUAL_CLOCK_H_
#define TMEM_TESTS_DAEMON_MANUAL_CLOCK_H_

#include <atomic>

#include "base/clock.h"

namespace tmem {

class ManualClock final : public Clock {
 public:
  TimePoint Now() const override {
    return TimePoint(Duration(since_epoch_.load(std::memory_order_relaxed)));
  }
  void Advance(Duration duration) {
    since_epoch_.fetch_add(duration.count(), std::memory_order_relaxed);
  }

 private:
  std::atomic<Duration::rep> since_epoch_ = 0;
};

}  // namespace tmem

#endif  // TMEM_TESTS_DAEMON_MANUAL_CLOCK_H_
