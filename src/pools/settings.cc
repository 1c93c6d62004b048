#include "pools/settings.h"

#include <fmt/format.h>

namespace tmem {

Result<void> GuestSettings::Validate() const {
  if (weight < kMinWeight || weight > kMaxWeight) {
    return Fail(ErrorCode::kInvalid, fmt::format("weight {} is out of range; allowed are {} to {}",
                                                 weight, kMinWeight, kMaxWeight));
  }
  if (reserve > cap) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("reserve {} is above cap {}; lower the reserve or raise the cap",
                            FormatBytes(reserve), FormatBytes(cap)));
  }
  if (reserve == kUnlimited) {
    return Fail(ErrorCode::kInvalid, "reserve cannot be unlimited; give a size, as in 64M");
  }
  if (compress_cpu < 1 || compress_cpu > 100) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("compress-cpu {} is out of range; allowed are 1 to 100", compress_cpu));
  }
  if (dense_after > kMaxDenseAfter) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("dense-after {} is out of range; allowed are 0 to {}", dense_after,
                            kMaxDenseAfter));
  }
  return {};
}

Result<void> PolicySettings::Validate() const {
  if (surrender_percent <= kMaxSurrenderPercent) return {};
  return Fail(ErrorCode::kInvalid,
              fmt::format("surrender percent {} is out of range; allowed are 0 to {}",
                          surrender_percent, kMaxSurrenderPercent));
}

}  // namespace tmem
