#include "hypercall/operation_times.h"

#include <gtest/gtest.h>

#include <numeric>

namespace tmem {
namespace {

class FixedClock final : public Clock {
 public:
  TimePoint Now() const override { return now_; }
  void Advance(Duration by) { now_ += by; }

 private:
  TimePoint now_{};
};

uint64_t Count(const TimeHistogram& times) {
  return std::accumulate(times.counts.begin(), times.counts.end(), uint64_t{0});
}

TEST(OperationTimesTest, EachTimeIsInTheFirstBucketAboveIt) {
  EXPECT_EQ(TimeHistogram::BucketOf(0), 0u);
  EXPECT_EQ(TimeHistogram::BucketOf(127), 0u);
  EXPECT_EQ(TimeHistogram::BucketOf(128), 1u);
  EXPECT_EQ(TimeHistogram::BucketOf(1 << 20), 14u);
  EXPECT_EQ(TimeHistogram::BucketOf(UINT64_MAX), TimeHistogram::kBuckets - 1);
}

TEST(OperationTimesTest, OneRequestInSoManyIsTimed) {
  const FixedClock clock;
  OperationTimes times(clock);
  uint32_t timed = 0;
  for (uint32_t i = 0; i < 10 * OperationTimes::kSampleEvery; ++i) timed += times.IsNext() ? 1 : 0;
  EXPECT_EQ(timed, 10u);
}

TEST(OperationTimesTest, RequestsThatAreExecutedTogetherCountEach) {
  const FixedClock clock;
  OperationTimes times(clock);
  uint32_t timed = 0;
  for (uint32_t i = 0; i < 10 * OperationTimes::kSampleEvery; ++i)
    timed += times.IsNext(16) ? 1 : 0;
  EXPECT_EQ(timed, 160u);
}

TEST(OperationTimesTest, ATimeIsThatOfOnePage) {
  FixedClock clock;
  OperationTimes times(clock);
  times.Begin();
  clock.Advance(std::chrono::nanoseconds(64'000));
  times.End(TMEMIF_OP_PUT_PAGE, 64);
  const auto put = times.Take()[TMEMIF_OP_PUT_PAGE];
  EXPECT_EQ(put.sum_ns, 1000u);
  EXPECT_EQ(put.counts[TimeHistogram::BucketOf(1000)], 1u);
  EXPECT_EQ(Count(put), 1u);
  EXPECT_EQ(Count(times.Take()[TMEMIF_OP_GET_PAGE]), 0u);
}

TEST(OperationTimesTest, AnOperationThatNobodyKnowsIsNotCounted) {
  const FixedClock clock;
  OperationTimes times(clock);
  times.Begin();
  times.End(UINT32_MAX, 1);
  for (const TimeHistogram& each : times.Take()) EXPECT_EQ(Count(each), 0u);
}

}  // namespace
}  // namespace tmem
