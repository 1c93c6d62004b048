// Bounds what a guest can make us log: a token bucket.
//
// Not thread-safe: each connection owns one and uses it from the thread that owns the connection.
#ifndef TMEM_BASE_RATE_LIMITER_H_
#define TMEM_BASE_RATE_LIMITER_H_

#include <cstdint>

#include "base/clock.h"

namespace tmem {

class RateLimiter {
 public:
  // Allows `burst` events at once and one more each `interval` after.
  RateLimiter(const Clock& clock, uint32_t burst, Duration interval)
      : clock_(clock), burst_(burst), interval_(interval), tokens_(burst), last_(clock.Now()) {}

  // True if the event may happen now. Refused events are counted.
  bool Allow();

  // Events refused since the last allowed one; the next allowed message should tell.
  uint64_t TakeSuppressed();

 private:
  const Clock& clock_;
  const uint32_t burst_;
  const Duration interval_;
  uint32_t tokens_;
  TimePoint last_;
  uint64_t suppressed_ = 0;
};

}  // namespace tmem

#endif  // TMEM_BASE_RATE_LIMITER_H_
