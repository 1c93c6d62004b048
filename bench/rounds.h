// Comparing things whose times differ less than the machine's moods do: they take turns in short
// rounds, and what counts is the median round of each. A round's time is what its thread spent on
// a processor, so that other programs disturb it less.
#ifndef TMEM_BENCH_ROUNDS_H_
#define TMEM_BENCH_ROUNDS_H_

#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

namespace tmem {

// Times of one thing, a round each.
class Rounds {
 public:
  // Does `op(i)` for i from 0 to `count` - 1; returns and keeps the mean seconds of one.
  template <class Op>
  double Time(uint32_t count, Op&& op) {
    const double start = ThreadSeconds();
    for (uint32_t i = 0; i < count; ++i) op(i);
    return Add((ThreadSeconds() - start) / count);
  }
  // The same by the clock on the wall, for what several threads do.
  template <class Op>
  double TimeOnce(Op&& op) {
    const auto start = std::chrono::steady_clock::now();
    op();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    return Add(took.count());
  }
  double Add(double seconds) {
    seconds_.push_back(seconds);
    return seconds;
  }

  double MedianNs() const {
    auto sorted = seconds_;
    std::ranges::nth_element(sorted, sorted.begin() + static_cast<int64_t>(sorted.size() / 2));
    return sorted[sorted.size() / 2] * 1e9;
  }

 private:
  static double ThreadSeconds() {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
  }

  std::vector<double> seconds_;
};

// A fast generator (splitmix64, S. Vigna): it must not cost what is measured.
class FastRandom {
 public:
  explicit FastRandom(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t x = state_ += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
  }
  // Below `bound`.
  uint32_t Below(uint32_t bound) { return static_cast<uint32_t>((Next() >> 32) * bound >> 32); }

 private:
  uint64_t state_;
};

}  // namespace tmem

#endif  // TMEM_BENCH_ROUNDS_H_
