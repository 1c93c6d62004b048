#include "pools/guest.h"

#include <utility>

namespace tmem {

namespace {

// A pool's word: state 2 | class 1 | shared 1 | place 4 | serial 56.
constexpr uint64_t kStateMask = 0x3;
constexpr uint64_t kFree = 0;
constexpr uint64_t kLive = 1;
constexpr uint64_t kClosed = 2;
constexpr uint64_t kPersistentBit = 0x4;
constexpr uint64_t kSharedBit = 0x8;
constexpr int kPlaceShift = 4;
constexpr uint64_t kPlaceMask = 0xf;
constexpr int kSerialShift = 8;
static_assert(kMaxSharedPools <= kPlaceMask + 1);

uint64_t StateOf(uint64_t word) { return word & kStateMask; }

}  // namespace

Guest::Guest(GuestId id, const GuestSettings& settings, std::shared_ptr<Keyspace> keyspace)
    : id_(id), ledger_(settings.cap), keyspace_(std::move(keyspace)) {
  SetSettings(settings);
}

GuestSettings Guest::settings() const {
  MutexLock lock(mutex_);
  return settings_;
}

void Guest::SetSettings(const GuestSettings& settings) {
  MutexLock lock(mutex_);
  settings_ = settings;
  ledger_.SetCap(settings.cap);
  frozen_.store(settings.frozen, std::memory_order_relaxed);
  for (int i = 0; i < kPageClasses; ++i) {
    compress_[static_cast<size_t>(i)].store(settings.compress[i], std::memory_order_relaxed);
  }
}

std::optional<Guest::Pool> Guest::FindInState(PoolId pool, uint64_t state) const {
  if (pool.value >= kMaxPoolsPerGuest) return std::nullopt;
  const std::atomic<uint64_t>& word = pools_[pool.value];
  const uint64_t value = word.load(std::memory_order_acquire);
  if (StateOf(value) != state) return std::nullopt;
  Pool found;
  found.ticket = {.word = &word, .value = value};
  found.page_class = (value & kPersistentBit) != 0 ? PageClass::kPersistent : PageClass::kEphemeral;
  if ((value & kSharedBit) != 0) {
    found.shared = static_cast<SharedPools::Place>(value >> kPlaceShift & kPlaceMask);
  }
  return found;
}

std::optional<Guest::Pool> Guest::Find(PoolId pool) const { return FindInState(pool, kLive); }

std::optional<Guest::Pool> Guest::FindClosed(PoolId pool) const {
  return FindInState(pool, kClosed);
}

std::optional<PoolId> Guest::Open(PageClass page_class, std::optional<SharedPools::Place> shared) {
  MutexLock lock(mutex_);
  if (closed_for_good_) return std::nullopt;
  for (uint32_t i = 0; i < kMaxPoolsPerGuest; ++i) {
    if (StateOf(pools_[i].load(std::memory_order_relaxed)) != kFree) continue;
    uint64_t word = ++last_serial_ << kSerialShift | kLive;
    if (page_class == PageClass::kPersistent) word |= kPersistentBit;
    if (shared) word |= kSharedBit | uint64_t{*shared} << kPlaceShift;
    pools_[i].store(word, std::memory_order_release);
    return PoolId{i};
  }
  return std::nullopt;
}

bool Guest::Close(PoolId pool) {
  MutexLock lock(mutex_);
  if (pool.value >= kMaxPoolsPerGuest) return false;
  const uint64_t word = pools_[pool.value].load(std::memory_order_relaxed);
  if (StateOf(word) != kLive) return false;
  pools_[pool.value].store((word & ~kStateMask) | kClosed, std::memory_order_release);
  return true;
}

void Guest::Release(PoolId pool, const PoolCounters& counters) {
  MutexLock lock(mutex_);
  retired_ += counters;
  pools_[pool.value].store(kFree, std::memory_order_release);
}

void Guest::CloseForGood() {
  MutexLock lock(mutex_);
  closed_for_good_ = true;
}

PoolCounters Guest::retired() const {
  MutexLock lock(mutex_);
  return retired_;
}

}  // namespace tmem
