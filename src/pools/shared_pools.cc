#include "pools/shared_pools.h"

#include <algorithm>

#include "pools/random_key.h"

namespace tmem {

namespace {
constexpr uint32_t kPoolNumber = 0;  // a shared pool is the only one in its keyspace
constexpr Terms kUnused{.weight = 0, .has_persistent = false};
}  // namespace

SharedPools::SharedPools(Memory& memory, NodeBlocks& blocks, ObjectRecords& records,
                         const DictionaryFiles& dictionaries)
    : memory_(memory) {
  for (Place place = 0; place < kMaxSharedPools; ++place) {
    pools_[place].keyspace = Keyspace::Create(memory, blocks, records, dictionaries,
                                              {.id = place + 1, .hash_key = RandomKey()}, kUnused);
  }
}

std::optional<SharedPools::Place> SharedPools::Join(const Uuid& uuid, Ledger& ledger,
                                                    uint32_t weight) {
  MutexLock lock(mutex_);
  auto pool = std::ranges::find_if(
      pools_, [&](const Pool& p) { return !p.members.empty() && p.uuid == uuid; });
  if (pool == pools_.end()) pool = std::ranges::find_if(pools_, &Pool::free);
  if (pool == pools_.end()) return std::nullopt;
  pool->uuid = uuid;
  pool->members.push_back({&ledger, weight});
  Weigh(*pool);
  return static_cast<Place>(pool - pools_.begin());
}

void SharedPools::Resume(Place place, const Uuid& uuid, Ledger& ledger) {
  MutexLock lock(mutex_);
  Pool& pool = pools_[place];
  pool.uuid = uuid;
  pool.members.push_back({&ledger, GuestSettings::kMinWeight});
  Weigh(pool);
}

// The pool serves each of its members: it weighs as much as the heaviest. Without any it has no
// share, and what it still holds goes first.
void SharedPools::Weigh(const Pool& pool) {
  uint32_t weight = 0;
  for (const Member& member : pool.members) weight = std::max(weight, member.weight);
  memory_.SetWeight(pool.keyspace->stake(), weight);
}

void SharedPools::Leave(Place place, Ledger& ledger) {
  Pool& pool = pools_[place];
  MutexLock leaving(pool.leaving);
  std::vector<Ledger*> others;
  {
    MutexLock lock(mutex_);
    pool.members.erase(std::ranges::find(pool.members, &ledger, &Member::ledger));
    if (pool.members.empty()) {
      pool.drainer = &ledger;  // all pages are its own: they go as it drains them
      return;
    }
    Weigh(pool);
    for (const Member& member : pool.members) others.push_back(member.ledger);
  }
  // Still in the pool under another id: what it paid for stays with it.
  if (std::ranges::find(others, &ledger) != others.end()) return;
  pool.keyspace->Repay(kPoolNumber, PageClass::kEphemeral, ledger, Bytes(0), others);
}

bool SharedPools::Drain(Place place, const Ledger& ledger, PageCount budget) {
  Pool& pool = pools_[place];
  {
    MutexLock lock(mutex_);
    if (pool.drainer != &ledger) return true;
  }
  if (!pool.keyspace->Drain(kPoolNumber, PageClass::kEphemeral, budget)) return false;
  const PoolCounters counters = pool.keyspace->TakeCounters(kPoolNumber);
  MutexLock lock(mutex_);
  retired_ += counters;
  pool.drainer = nullptr;
  Weigh(pool);
  return true;
}

void SharedPools::SetWeight(const Ledger& ledger, uint32_t weight) {
  MutexLock lock(mutex_);
  for (Pool& pool : pools_) {
    for (Member& member : pool.members) {
      if (member.ledger == &ledger) member.weight = weight;
    }
    Weigh(pool);
  }
}

void SharedPools::Shrink(const Ledger& ledger) {
  for (Pool& pool : pools_) {
    {
      MutexLock lock(mutex_);
      if (std::ranges::find(pool.members, &ledger, &Member::ledger) == pool.members.end()) continue;
    }
    pool.keyspace->Repay(kPoolNumber, PageClass::kEphemeral, ledger, ledger.cap(), {});
  }
}

uint32_t SharedPools::MembersOf(Place place) const {
  MutexLock lock(mutex_);
  return static_cast<uint32_t>(pools_[place].members.size());
}

Uuid SharedPools::UuidOf(Place place) const {
  MutexLock lock(mutex_);
  return pools_[place].uuid;
}

uint32_t SharedPools::count() const {
  MutexLock lock(mutex_);
  return static_cast<uint32_t>(
      std::ranges::count_if(pools_, [](const Pool& p) { return !p.members.empty(); }));
}

size_t SharedPools::bytes() const {
  size_t sum = sizeof(*this);
  for (const Pool& pool : pools_) sum += pool.keyspace->bytes();
  return sum;
}

void SharedPools::Abandon() {
  for (Pool& pool : pools_) pool.keyspace->Abandon();
}

PoolCounters SharedPools::retired() const {
  MutexLock lock(mutex_);
  return retired_;
}

}  // namespace tmem
