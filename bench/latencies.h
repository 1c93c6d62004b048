// How long each of many operations took on the clock, and what part of them took how long.
#ifndef TMEM_BENCH_LATENCIES_H_
#define TMEM_BENCH_LATENCIES_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

namespace tmem {

class Latencies {
 public:
  // Does `op()`, and returns its result.
  template <class Op>
  auto Time(Op&& op) {
    const auto start = std::chrono::steady_clock::now();
    auto result = op();
    const std::chrono::duration<float, std::nano> took = std::chrono::steady_clock::now() - start;
    ns_.push_back(took.count());
    return result;
  }
  // So many ns, or less, is what `part` of them took. REQUIRES: 0 <= part <= 1; Time was called.
  double Quantile(double part) {
    const auto at = ns_.begin() + static_cast<int64_t>(part * static_cast<double>(ns_.size() - 1));
    std::ranges::nth_element(ns_, at);
    return *at;
  }

 private:
  std::vector<float> ns_;
};

}  // namespace tmem

#endif  // TMEM_BENCH_LATENCIES_H_
