// What an administrator sets: for one guest, and how memory is divided among all. Plain data; the
// store keeps a copy of its own.
#ifndef TMEM_POOLS_SETTINGS_H_
#define TMEM_POOLS_SETTINGS_H_

#include <array>
#include <cstdint>
#include <set>
#include <string_view>

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
  static constexpr uint32_t kMaxDenseAfter = 30 * 24 * 3600;

  uint32_t weight = 100;   // relative share of what nobody is guaranteed, kMinWeight..kMaxWeight
  Bytes reserve{0};        // always available to this guest's persistent pages
  Bytes cap = kUnlimited;  // both classes together, as stored, never exceed this
  Bytes surrendered{0};    // of the guest's own memory, unless Store::SetSurrendered knows better
  CompressMode compress[kPageClasses] = {CompressMode::kFast, CompressMode::kFast};
  // Where that is kAuto: what may go into compressing later, in percent of one processor, and how
  // many seconds persistent pages lie unread before they are compressed as kDense (0: never).
  uint32_t compress_cpu = 25;  // 1..100
  uint32_t dense_after = 60;
  bool frozen = false;           // refuse puts
  std::set<Uuid> shared_auth{};  // shared pools that this guest may join

  bool operator==(const GuestSettings&) const = default;

  // kInvalid with one line for the first setting that is out of range, or reserve > cap.
  Result<void> Validate() const;
};

// How memory is divided; policy.h says what each means.
enum class PolicyKind : uint8_t { kGreedy, kStatic, kSurrender, kMaxMin, kSmartAlloc, kUtility };
inline constexpr std::array<std::string_view, 6> kPolicyNames = {
    "greedy", "static", "surrender", "max-min", "smart-alloc", "utility"};
inline constexpr std::string_view NameOf(PolicyKind kind) {
  return kPolicyNames[static_cast<size_t>(kind)];
}

struct PolicySettings {
  static constexpr uint32_t kMaxSurrenderPercent = 1600;

  PolicyKind kind = PolicyKind::kMaxMin;
  uint32_t surrender_percent = 100;  // of what a guest surrendered, it may store; to the maximum

  bool operator==(const PolicySettings&) const = default;

  Result<void> Validate() const;
};

}  // namespace tmem

#endif  // TMEM_POOLS_SETTINGS_H_
