#include "base/rate_limiter.h"

#include <algorithm>
#include <utility>

namespace tmem {

bool RateLimiter::Allow() {
  const auto earned = (clock_.Now() - last_) / interval_;
  if (earned > 0) {
    last_ += earned * interval_;
    tokens_ = static_cast<uint32_t>(std::min<int64_t>(burst_, tokens_ + earned));
  }
  if (tokens_ == 0) {
    ++suppressed_;
    return false;
  }
  --tokens_;
  return true;
}

uint64_t RateLimiter::TakeSuppressed() { return std::exchange(suppressed_, 0); }

}  // namespace tmem
