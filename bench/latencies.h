// How long each of many operations took, and what part of them took how long: by the thread's own
// time on a processor, so that a time slice that another program had does not count. What the
// operation sleeps for does not count either: for one thread alone, which waits for nobody.
#ifndef TMEM_BENCH_LATENCIES_H_
#define TMEM_BENCH_LATENCIES_H_

#include <time.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace tmem {

class Latencies {
 public:
  // Does `op()`, and returns its result.
  template <class Op>
  auto Time(Op&& op) {
    const int64_t start = ThreadNs();
    auto result = op();
    ns_.push_back(static_cast<float>(ThreadNs() - start));
    return result;
  }
  // So many ns, or less, is what `part` of them took. REQUIRES: 0 <= part <= 1; Time was called.
  double Quantile(double part) {
    const auto at = ns_.begin() + static_cast<int64_t>(part * static_cast<double>(ns_.size() - 1));
    std::ranges::nth_element(ns_, at);
    return *at;
  }

 private:
  static int64_t ThreadNs() {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1'000'000'000 + now.tv_nsec;
  }

  std::vector<float> ns_;
};

}  // namespace tmem

#endif  // TMEM_BENCH_LATENCIES_H_
