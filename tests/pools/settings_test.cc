#include "pools/settings.h"

#include <gtest/gtest.h>

namespace tmem {
namespace {

TEST(GuestSettings, DefaultsAreValid) { EXPECT_TRUE(GuestSettings{}.Validate()); }

TEST(GuestSettings, WeightHasLimits) {
  GuestSettings settings;
  for (const uint32_t good : {1u, 65'535u}) {
    settings.weight = good;
    EXPECT_TRUE(settings.Validate()) << good;
  }
  for (const uint32_t bad : {0u, 65'536u, UINT32_MAX}) {
    settings.weight = bad;
    const auto result = settings.Validate();
    ASSERT_FALSE(result) << bad;
    EXPECT_EQ(result.error().code, ErrorCode::kInvalid);
    EXPECT_NE(result.error().message.find(std::to_string(bad)), std::string::npos);
  }
}

TEST(GuestSettings, ReserveFitsTheCap) {
  GuestSettings settings;
  settings.reserve = settings.cap = MiB(3);
  EXPECT_TRUE(settings.Validate());
  settings.reserve += Bytes(1);
  EXPECT_FALSE(settings.Validate());
  settings.reserve = settings.cap = kUnlimited;
  EXPECT_FALSE(settings.Validate()) << "nobody can be promised everything";
}

}  // namespace
}  // namespace tmem
