// What an administrator sets for one guest. Plain data; the store keeps a copy of its own.
#ifndef TMEM_POOLS_SETTINGS_H_
#define TMEM_POOLS_SETTINGS_H_

#include <cstdint>
#include <set>

#include "base/result.h"
#include "base/units.h"
#include "compress/page_codec.h"

namespace tmem {

// The two classes of pages. They never share a segment.
enum class PageClass : uint8_t {
  kEphemeral,   // may vanish at any time
  kPersistent,  // stays until flushed
};
inline constexpr int kPageClasses = 2;

struct GuestSettings {
  static constexpr uint32_t kMinWeight = 1;
  static constexpr uint32_t kMaxWeight = 65535;

  uint32_t weight = 100;   // relative share of ephemeral memory, kMinWeight..kMaxWeight
  Bytes reserve{0};        // always available to this guest's persistent pages
  Bytes cap = kUnlimited;  // both classes together, as stored, never exceed this
  CompressMode compress[kPageClasses] = {CompressMode::kFast, CompressMode::kFast};
  bool frozen = false;           // refuse puts
  std::set<Uuid> shared_auth{};  // shared pools that this guest may join

  bool operator==(const GuestSettings&) const = default;

  // kInvalid with one line for the first setting that is out of range, or reserve > cap.
  Result<void> Validate() const;
};

}  // namespace tmem

#endif  // TMEM_POOLS_SETTINGS_H_
