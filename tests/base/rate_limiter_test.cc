#include "base/rate_limiter.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <chrono>
#include <vector>

namespace tmem {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class FakeClock final : public Clock {
 public:
  TimePoint Now() const override { return now_; }
  void Advance(Duration by) { now_ += by; }

 private:
  TimePoint now_{seconds(1000)};
};

TEST(RateLimiter, AllowsABurstThenOneAnInterval) {
  FakeClock clock;
  RateLimiter limiter(clock, 3, seconds(10));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limiter.Allow());
  EXPECT_FALSE(limiter.Allow());

  clock.Advance(seconds(10) - milliseconds(1));
  EXPECT_FALSE(limiter.Allow());
  clock.Advance(milliseconds(1));
  EXPECT_TRUE(limiter.Allow());
  EXPECT_FALSE(limiter.Allow());
}

TEST(RateLimiter, QuietTimeRefillsNoMoreThanTheBurst) {
  FakeClock clock;
  RateLimiter limiter(clock, 2, seconds(1));
  clock.Advance(std::chrono::hours(24 * 365));
  EXPECT_TRUE(limiter.Allow());
  EXPECT_TRUE(limiter.Allow());
  EXPECT_FALSE(limiter.Allow());
}

TEST(RateLimiter, CountsWhatItRefusedOnce) {
  FakeClock clock;
  RateLimiter limiter(clock, 1, seconds(1));
  EXPECT_TRUE(limiter.Allow());
  EXPECT_EQ(limiter.TakeSuppressed(), 0);
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(limiter.Allow());
  EXPECT_EQ(limiter.TakeSuppressed(), 5);
  EXPECT_EQ(limiter.TakeSuppressed(), 0);
}

// However the events come, no window of n intervals sees more than burst + n of them allowed, and
// every event is either allowed or counted.
RC_GTEST_PROP(RateLimiter, NeverExceedsItsRate, ()) {
  const auto burst = *rc::gen::inRange<uint32_t>(1, 8);
  const Duration interval = milliseconds(*rc::gen::inRange(1, 1000));
  const auto pauses = *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 2000));

  FakeClock clock;
  RateLimiter limiter(clock, burst, interval);
  std::vector<TimePoint> allowed;
  uint64_t refused = 0;
  for (const int pause : pauses) {
    clock.Advance(milliseconds(pause));
    if (limiter.Allow()) {
      allowed.push_back(clock.Now());
    } else {
      ++refused;
    }
  }
  RC_ASSERT(limiter.TakeSuppressed() == refused);
  RC_ASSERT(allowed.size() + refused == pauses.size());
  for (size_t first = 0; first < allowed.size(); ++first) {
    for (size_t last = first; last < allowed.size(); ++last) {
      const auto intervals = (allowed[last] - allowed[first]) / interval + 1;
      RC_ASSERT(last - first + 1 <= burst + static_cast<size_t>(intervals));
    }
  }
}

}  // namespace
}  // namespace tmem
