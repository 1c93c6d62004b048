#include "base/adaptive_spin.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace tmem {
namespace {

using std::chrono::microseconds;

TEST(AdaptiveSpinTest, StartsWithoutPolling) {
  EXPECT_EQ(AdaptiveSpin(microseconds(80)).window(), Duration::zero());
}

TEST(AdaptiveSpinTest, GrowsToTheLimitWhileALongerWindowWouldHaveHelped) {
  AdaptiveSpin spin{microseconds(80)};
  spin.Observe(microseconds(75));
  EXPECT_EQ(spin.window(), microseconds(10));
  spin.Observe(microseconds(75));
  EXPECT_EQ(spin.window(), microseconds(20));
  for (int i = 0; i < 10; ++i) spin.Observe(microseconds(75));
  EXPECT_GE(spin.window(), microseconds(75));
  EXPECT_LE(spin.window(), microseconds(80));
}

TEST(AdaptiveSpinTest, KeepsAWindowThatServes) {
  AdaptiveSpin spin{microseconds(80)};
  spin.Observe(microseconds(30));
  const Duration window = spin.window();
  spin.Observe(microseconds(1));
  EXPECT_EQ(spin.window(), window);
}

TEST(AdaptiveSpinTest, ShrinksToNothingWhenPollingIsInVain) {
  AdaptiveSpin spin{microseconds(80)};
  for (int i = 0; i < 10; ++i) spin.Observe(microseconds(75));
  for (int i = 0; i < 4; ++i) spin.Observe(microseconds(1000));
  EXPECT_EQ(spin.window(), Duration::zero());
}

TEST(AdaptiveSpinTest, ALimitOfZeroNeverPolls) {
  AdaptiveSpin spin{microseconds(80)};
  for (int i = 0; i < 10; ++i) spin.Observe(microseconds(75));
  spin.SetLimit(Duration::zero());
  EXPECT_EQ(spin.window(), Duration::zero());
  spin.Observe(microseconds(1));
  EXPECT_EQ(spin.window(), Duration::zero());
}

RC_GTEST_PROP(AdaptiveSpinTest, NeverLeavesItsBounds,
              (uint16_t limit, const std::vector<uint16_t>& idles)) {
  AdaptiveSpin spin{microseconds(limit)};
  for (const uint16_t idle : idles) {
    spin.Observe(microseconds(idle));
    RC_ASSERT(spin.window() >= Duration::zero());
    RC_ASSERT(spin.window() <= Duration(microseconds(limit)));
  }
}

}  // namespace
}  // namespace tmem
