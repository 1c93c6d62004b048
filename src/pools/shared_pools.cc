#include "pools/shared_pools.h"

#include <algorithm>

namespace tmem {

namespace {
constexpr uint32_t kPoolNumber = 0;  // a shared pool is the only one in its keyspace
}  // namespace

SharedPools::SharedPools(Memory& memory) : memory_(memory) {
  for (Pool& pool : pools_) pool.keyspace = Keyspace::Create(memory, GuestSettings::kMinWeight, 0);
}

std::optional<SharedPools::Place> SharedPools::Join(const Uuid& uuid, Ledger& ledger,
                                                    uint32_t weight) {
  MutexLock lock(mutex_);
  auto pool = std::ranges::find_if(
      pools_, [&](const Pool& p) { return !p.members.empty() && p.uuid == uuid; });
  if (pool == pools_.end()) pool = std::ranges::find_if(pools_, &Pool::free);
  if (pool == pools_.end()) return std::nullopt;
  pool->uuid = uuid;
  pool->members.push_back(&ledger);
  pool->weights.push_back(weight);
  // The pool serves each of its members: it weighs as much as the heaviest.
  memory_.Change(pool->keyspace->stake(), std::ranges::max(pool->weights), 0);
  return static_cast<Place>(pool - pools_.begin());
}

void SharedPools::Leave(Place place, Ledger& ledger) {
  MutexLock leaving(leaving_);
  Pool& pool = pools_[place];
  std::vector<Ledger*> others;
  {
    MutexLock lock(mutex_);
    const auto member = std::ranges::find(pool.members, &ledger);
    pool.weights.erase(pool.weights.begin() + (member - pool.members.begin()));
    pool.members.erase(member);
    others = pool.members;
    pool.draining = others.empty();
  }
  // Still in the pool under another id: what it paid for stays with it.
  if (std::ranges::find(others, &ledger) != others.end()) return;
  pool.keyspace->Repay(kPoolNumber, PageClass::kEphemeral, ledger, others);
}

bool SharedPools::Drain(Place place, PageCount budget) {
  Pool& pool = pools_[place];
  {
    MutexLock lock(mutex_);
    if (!pool.draining) return true;
  }
  if (!pool.keyspace->Drain(kPoolNumber, PageClass::kEphemeral, budget)) return false;
  MutexLock lock(mutex_);
  retired_ += pool.keyspace->TakeCounters(kPoolNumber);
  pool.draining = false;
  return true;
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

PoolCounters SharedPools::retired() const {
  MutexLock lock(mutex_);
  return retired_;
}

}  // namespace tmem
