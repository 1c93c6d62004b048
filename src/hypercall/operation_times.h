// How long requests take, by operation: histograms of every kSampleEvery-th request, so that the
// data path pays a countdown and no more.
//
// A time is that of one page: a request's time by its pages. Flushes of large objects and pools
// count each of their steps.
//
// Threads: one worker records; any thread may take a snapshot.
#ifndef TMEM_HYPERCALL_OPERATION_TIMES_H_
#define TMEM_HYPERCALL_OPERATION_TIMES_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"
#include "hypercall/abi/tmemif.h"

namespace tmem {

// Of one operation. Bucket n holds times below 2^(n + kFirstBits) ns that are in none before it;
// the last holds all others.
struct TimeHistogram {
  static constexpr int kFirstBits = 7;  // 128 ns
  static constexpr size_t kBuckets = 19;

  std::array<uint64_t, kBuckets> counts{};
  uint64_t sum_ns = 0;

  static constexpr size_t BucketOf(uint64_t ns) {
    const int bits = std::bit_width(ns);
    return std::min(static_cast<size_t>(std::max(bits - kFirstBits, 0)), kBuckets - 1);
  }

  TimeHistogram& operator+=(const TimeHistogram& other) {
    for (size_t i = 0; i < kBuckets; ++i) counts[i] += other.counts[i];
    sum_ns += other.sum_ns;
    return *this;
  }
};

class OperationTimes {
 public:
  // Prime, so that no pattern of requests hides between the samples.
  static constexpr uint32_t kSampleEvery = 61;
  static constexpr size_t kOperations = TMEMIF_OP_FLUSH_OBJECT + 1;  // by number
  using Snapshot = std::array<TimeHistogram, kOperations>;

  explicit OperationTimes(const Clock& clock) : clock_(clock) {}

  // Before a request, or some that are executed together: is it, or one of them, one to time? Then
  // Begin(), and End() after it. REQUIRES: 0 < requests < kSampleEvery.
  bool IsNext(uint32_t requests = 1) {
    const bool is_next = countdown_ <= requests;
    if (is_next) countdown_ += kSampleEvery;
    countdown_ -= requests;
    return is_next;
  }
  void Begin() { begin_ = clock_.Now(); }
  // Operations that nobody knows are not counted. REQUIRES: pages > 0.
  void End(uint32_t operation, uint64_t pages) {
    if (operation >= kOperations) return;
    const auto ns = std::chrono::nanoseconds(clock_.Now() - begin_).count();
    const uint64_t per_page = static_cast<uint64_t>(std::max<int64_t>(ns, 0)) / pages;
    Add(times_[operation].counts[TimeHistogram::BucketOf(per_page)], 1);
    Add(times_[operation].sum_ns, per_page);
  }

  Snapshot Take() const {
    Snapshot snapshot;
    for (size_t i = 0; i < kOperations; ++i) {
      for (size_t k = 0; k < TimeHistogram::kBuckets; ++k) {
        snapshot[i].counts[k] = times_[i].counts[k].load(std::memory_order_relaxed);
      }
      snapshot[i].sum_ns = times_[i].sum_ns.load(std::memory_order_relaxed);
    }
    return snapshot;
  }

 private:
  struct Times {
    std::array<std::atomic<uint64_t>, TimeHistogram::kBuckets> counts{};
    std::atomic<uint64_t> sum_ns{0};
  };

  // Relaxed, and no read-modify-write: one thread writes, and each figure stands for itself.
  static void Add(std::atomic<uint64_t>& to, uint64_t number) {
    to.store(to.load(std::memory_order_relaxed) + number, std::memory_order_relaxed);
  }

  const Clock& clock_;
  uint32_t countdown_ = kSampleEvery;
  TimePoint begin_{};
  std::array<Times, kOperations> times_{};
};

}  // namespace tmem

#endif  // TMEM_HYPERCALL_OPERATION_TIMES_H_
