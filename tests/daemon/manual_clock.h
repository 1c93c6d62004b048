// A clock that the test turns.
#ifndef TMEM_TESTS_DAEMON_MANUAL_CLOCK_H_
#define TMEM_TESTS_DAEMON_MANUAL_CLOCK_H_

#include "base/clock.h"

namespace tmem {

class ManualClock final : public Clock {
 public:
  TimePoint Now() const override { return now_; }
  void Advance(Duration duration) { now_ += duration; }

 private:
  TimePoint now_{};
};

}  // namespace tmem

#endif  // TMEM_TESTS_DAEMON_MANUAL_CLOCK_H_
