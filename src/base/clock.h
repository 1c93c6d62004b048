// Time as a dependency: what needs it gets a Clock by constructor, so that tests own time.
#ifndef TMEM_BASE_CLOCK_H_
#define TMEM_BASE_CLOCK_H_

#include <chrono>

namespace tmem {

using TimePoint = std::chrono::steady_clock::time_point;
using Duration = std::chrono::steady_clock::duration;

// May be called from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint Now() const = 0;
};

// What the calling thread has spent on a processor. Costs a system call.
Duration ThreadCpuTime();

class SteadyClock final : public Clock {
 public:
  TimePoint Now() const override { return std::chrono::steady_clock::now(); }
};

}  // namespace tmem

#endif  // TMEM_BASE_CLOCK_H_
