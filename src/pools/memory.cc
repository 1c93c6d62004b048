#include "pools/memory.h"

#include <algorithm>

namespace tmem {

namespace {
// Another thread may take the segment that we evicted for ourselves; after so many times the store
// is in such demand that refusing is the better answer.
constexpr int kMaxEvictionsPerTake = 16;
}  // namespace

Memory::StakeId Memory::Join(uint32_t weight, uint32_t reserve) {
  MutexLock lock(mutex_);
  const Claim claim{.weight = weight, .reserve = reserve};
  if (!free_stakes_.empty()) {
    const StakeId stake = free_stakes_.back();
    free_stakes_.pop_back();
    claims_[stake] = claim;
    return stake;
  }
  claims_.push_back(claim);
  evictables_.emplace_back();
  return claims_.size() - 1;
}

void Memory::Change(StakeId stake, uint32_t weight, uint32_t reserve) {
  MutexLock lock(mutex_);
  claims_[stake].weight = weight;
  claims_[stake].reserve = reserve;
}

void Memory::SetEvictable(StakeId stake, std::weak_ptr<Evictable> evictable) {
  MutexLock lock(mutex_);
  evictables_[stake] = std::move(evictable);
}

void Memory::Leave(StakeId stake) {
  MutexLock lock(mutex_);
  claims_[stake] = Claim{};
  evictables_[stake].reset();
  free_stakes_.push_back(stake);
}

std::shared_ptr<Evictable> Memory::Victim() {
  // A claimant that is going away cannot be evicted from any more, and need not be.
  std::vector<Claim> candidates;
  for (;;) {
    const auto victim = PickVictim(candidates.empty() ? claims_ : candidates);
    if (!victim) return nullptr;
    if (auto evictable = evictables_[*victim].lock()) return evictable;
    if (candidates.empty()) candidates = claims_;
    candidates[*victim].ephemeral = 0;
  }
}

Memory::Verdict Memory::Decide(StakeId stake, PageClass page_class,
                               std::shared_ptr<Evictable>& victim) {
  if (page_class == PageClass::kPersistent && !MayTakePersistent(claims_, stake, capacity_)) {
    return Verdict::kRefused;
  }
  if (InUse() < capacity_) {
    ++in_use_[static_cast<int>(page_class)];
    ++Held(claims_[stake], page_class);
    return Verdict::kGranted;
  }
  victim = Victim();
  return victim ? Verdict::kEvictFirst : Verdict::kRefused;
}

SegmentId Memory::Take(StakeId stake, PageClass page_class) {
  for (int evictions = 0; evictions <= kMaxEvictionsPerTake; ++evictions) {
    std::shared_ptr<Evictable> victim;
    Verdict verdict;
    {
      MutexLock lock(mutex_);
      verdict = Decide(stake, page_class, victim);
    }
    switch (verdict) {
      case Verdict::kGranted:
        // Segments leave the arena only after they are counted here, and come back to it before
        // they are discounted: there is one.
        return arena_.Take();
      case Verdict::kRefused:
        return kNoSegment;
      case Verdict::kEvictFirst:
        if (victim->EvictOldestSegment()) {
          MutexLock lock(mutex_);
          ++evicted_;
        }
    }
  }
  return kNoSegment;
}

void Memory::GiveBack(StakeId stake, PageClass page_class, SegmentId segment) {
  arena_.GiveBack(segment);
  MutexLock lock(mutex_);
  --in_use_[static_cast<int>(page_class)];
  --Held(claims_[stake], page_class);
}

uint32_t Memory::SetCapacity(uint32_t capacity) {
  uint32_t in_force = 0;
  uint32_t before = 0;
  {
    MutexLock lock(mutex_);
    before = InUse();
    capacity_ = capacity;
  }
  for (;;) {
    std::shared_ptr<Evictable> victim;
    {
      MutexLock lock(mutex_);
      in_force = std::max(capacity_, InUse());
      if (InUse() > capacity_) victim = Victim();
    }
    if (!victim || !victim->EvictOldestSegment()) break;
    MutexLock lock(mutex_);
    ++evicted_;
  }
  arena_.ReleaseWarm();
  MutexLock lock(mutex_);
  if (before > InUse()) relinquished_ += before - InUse();
  return in_force;
}

Memory::Usage Memory::usage() const {
  MutexLock lock(mutex_);
  return {
      .capacity = capacity_, .in_use = in_use_, .evicted = evicted_, .relinquished = relinquished_};
}

std::array<uint32_t, kPageClasses> Memory::HeldBy(StakeId stake) const {
  MutexLock lock(mutex_);
  return {claims_[stake].ephemeral, claims_[stake].persistent};
}

}  // namespace tmem
