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
static_assert(kMaxPoolsPerGuest == GuestRecord::kPools);

uint64_t StateOf(uint64_t word) { return word & kStateMask; }
uint64_t SerialOf(uint64_t word) { return word >> kSerialShift; }

PageClass ClassOf(uint64_t word) {
  return (word & kPersistentBit) != 0 ? PageClass::kPersistent : PageClass::kEphemeral;
}

}  // namespace

Guest::Guest(const GuestSettings& settings, GuestRecords::Seat seat,
             std::shared_ptr<Keyspace> keyspace)
    : seat_(std::move(seat)),
      record_(seat_.record()),
      ledger_(settings.cap),
      keyspace_(std::move(keyspace)) {
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

void Guest::NoteRecompression(Duration spent) {
  recompression_ns_.fetch_add(spent.count(), std::memory_order_relaxed);
}

void Guest::NoteRefusal(Refusal why) {
  refusals_[static_cast<size_t>(why)].fetch_add(1, std::memory_order_relaxed);
  last_refusal_.store(static_cast<uint32_t>(why), std::memory_order_relaxed);
}

RefusalTally Guest::refusals() const {
  RefusalTally tally;
  for (size_t i = 0; i < kRefusals; ++i) {
    tally.counts[i] = refusals_[i].load(std::memory_order_relaxed);
  }
  const uint32_t last = last_refusal_.load(std::memory_order_relaxed);
  if (last != kNoRefusal) tally.last = static_cast<Refusal>(last);
  return tally;
}

std::optional<Guest::Pool> Guest::FindInState(PoolId pool, uint64_t state) const {
  if (pool.value >= kMaxPoolsPerGuest) return std::nullopt;
  const std::atomic<uint64_t>& word = WordOf(pool);
  const uint64_t value = word.load(std::memory_order_acquire);
  if (StateOf(value) != state) return std::nullopt;
  Pool found;
  found.ticket = {.word = &word, .value = value};
  found.page_class = ClassOf(value);
  if ((value & kSharedBit) != 0) {
    found.shared = static_cast<SharedPools::Place>(value >> kPlaceShift & kPlaceMask);
  }
  return found;
}

std::optional<Guest::Pool> Guest::Find(PoolId pool) const { return FindInState(pool, kLive); }

std::optional<Guest::Pool> Guest::FindClosed(PoolId pool) const {
  return FindInState(pool, kClosed);
}

std::optional<PoolId> Guest::Open(PageClass page_class, const std::optional<Membership>& shared,
                                  std::optional<RingPosition> at) {
  MutexLock lock(mutex_);
  if (closed_for_good_) return std::nullopt;
  for (uint32_t i = 0; i < kMaxPoolsPerGuest; ++i) {
    const PoolId pool{i};
    if (StateOf(WordOf(pool).load(std::memory_order_relaxed)) != kFree) continue;
    uint64_t word = ++record_.last_serial << kSerialShift | kLive;
    if (page_class == PageClass::kPersistent) word |= kPersistentBit;
    if (shared) {
      word |= kSharedBit | uint64_t{shared->place} << kPlaceShift;
      record_.pools[i].uuid = shared->uuid;
    }
    Note(at, pool, word);
    WordOf(pool).store(word, std::memory_order_release);
    return pool;
  }
  return std::nullopt;
}

bool Guest::Close(PoolId pool, std::optional<RingPosition> at) {
  MutexLock lock(mutex_);
  if (pool.value >= kMaxPoolsPerGuest) return false;
  const uint64_t word = WordOf(pool).load(std::memory_order_relaxed);
  if (StateOf(word) != kLive) return false;
  Note(at, pool, word);
  WordOf(pool).store((word & ~kStateMask) | kClosed, std::memory_order_release);
  return true;
}

void Guest::Release(PoolId pool, const PoolCounters& counters) {
  MutexLock lock(mutex_);
  retired_ += counters;
  WordOf(pool).store(kFree, std::memory_order_release);
}

// Before the pool's word changes: whoever finds the note compares, to learn whether it did.
void Guest::Note(std::optional<RingPosition> at, PoolId pool, uint64_t word) {
  if (!at || at->queue >= GuestRecord::kQueues) return;
  RequestRecord& record = record_.requests[at->queue];
  record.key.store(0, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);  // no store below comes before that one
  record.pool_word = word;
  record.pool = pool.value;
  record.key.store(RequestRecord::kValid | at->index, std::memory_order_release);
}

const RequestRecord* Guest::NoteOf(RingPosition at) const {
  if (!at.again || at.queue >= GuestRecord::kQueues) return nullptr;
  const RequestRecord& record = record_.requests[at.queue];
  const bool is_of_it =
      record.key.load(std::memory_order_relaxed) == (RequestRecord::kValid | at.index) &&
      record.pool < kMaxPoolsPerGuest;
  return is_of_it ? &record : nullptr;
}

std::optional<PoolId> Guest::OpenedAt(RingPosition at) const {
  MutexLock lock(mutex_);
  const RequestRecord* const note = NoteOf(at);
  if (note == nullptr) return std::nullopt;
  const PoolId pool{note->pool};
  const uint64_t word = WordOf(pool).load(std::memory_order_relaxed);
  const bool opened = StateOf(word) != kFree && SerialOf(word) == SerialOf(note->pool_word);
  return opened ? std::optional(pool) : std::nullopt;
}

bool Guest::ClosedAt(RingPosition at, PoolId pool) const {
  MutexLock lock(mutex_);
  const RequestRecord* const note = NoteOf(at);
  if (note == nullptr || note->pool != pool.value) return false;
  const uint64_t word = WordOf(pool).load(std::memory_order_relaxed);
  return StateOf(word) != kLive || SerialOf(word) != SerialOf(note->pool_word);
}

void Guest::ForgetRequests() {
  MutexLock lock(mutex_);
  for (RequestRecord& record : record_.requests) record.key.store(0, std::memory_order_relaxed);
}

std::array<PageClass, kMaxPoolsPerGuest> Guest::PoolClasses() const {
  std::array<PageClass, kMaxPoolsPerGuest> classes{};
  for (uint32_t i = 0; i < kMaxPoolsPerGuest; ++i) {
    classes[i] = ClassOf(WordOf(PoolId{i}).load(std::memory_order_acquire));
  }
  return classes;
}

uint32_t Guest::PrivatePools() const {
  uint32_t pools = 0;
  for (uint32_t i = 0; i < kMaxPoolsPerGuest; ++i) {
    const auto pool = Find(PoolId{i});
    if (pool && !pool->shared) pools |= 1u << i;
  }
  return pools;
}

std::optional<Guest::Membership> Guest::MembershipOf(PoolId pool) const {
  const auto found = Find(pool);
  if (!found || !found->shared) return std::nullopt;
  return Membership{*found->shared, record_.pools[pool.value].uuid};
}

void Guest::CloseForGood() {
  MutexLock lock(mutex_);
  closed_for_good_ = true;
  record_.use.store(GuestRecord::kLeaves, std::memory_order_release);
}

PoolCounters Guest::retired() const {
  MutexLock lock(mutex_);
  return retired_;
}

}  // namespace tmem
