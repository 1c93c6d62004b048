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

std::optional<Memory::Victim> Memory::FindVictim(Spared& spared,
                                                 std::optional<StakeId> taker) const {
  for (;;) {
    std::optional<StakeId> stake;
    if (spared.empty()) {
      stake = PickVictim(claims_, taker);
    } else {
      std::vector<Claim> candidates = claims_;
      for (const StakeId one : spared) candidates[one].ephemeral = 0;
      stake = PickVictim(candidates, taker);
    }
    if (!stake) return std::nullopt;
    if (auto evictable = evictables_[*stake].lock()) return Victim{*stake, std::move(evictable)};
    spared.push_back(*stake);  // it is going away, and gives all back by itself
  }
}

Memory::Verdict Memory::Decide(StakeId stake, PageClass page_class, Spared& spared,
                               std::optional<Victim>& victim) {
  if (page_class == PageClass::kPersistent && !MayTakePersistent(claims_, stake, capacity_)) {
    return Verdict::kRefused;
  }
  if (InUse() < capacity_) {
    ++in_use_[static_cast<int>(page_class)];
    ++Held(claims_[stake], page_class);
    return Verdict::kGranted;
  }
  victim = page_class == PageClass::kEphemeral ? FindVictim(spared, stake) : FindVictim(spared);
  return victim ? Verdict::kEvictFirst : Verdict::kRefused;
}

bool Memory::Evict(const Victim& victim, Spared& spared) {
  if (!victim.evictable->EvictOldestSegment()) {
    spared.push_back(victim.stake);
    return false;
  }
  MutexLock lock(mutex_);
  ++evicted_;
  return true;
}

SegmentId Memory::Take(StakeId stake, PageClass page_class) {
  Spared spared;
  for (int evictions = 0; evictions <= kMaxEvictionsPerTake;) {
    std::optional<Victim> victim;
    Verdict verdict;
    {
      MutexLock lock(mutex_);
      verdict = Decide(stake, page_class, spared, victim);
    }
    switch (verdict) {
      case Verdict::kGranted:
        // Segments leave the arena only after they are counted here, and come back to it before
        // they are discounted: there is one, unless the system lacks the memory.
        return TakeGranted(stake, page_class);
      case Verdict::kRefused:
        return kNoSegment;
      case Verdict::kEvictFirst:
        if (Evict(*victim, spared)) ++evictions;
    }
  }
  return kNoSegment;
}

SegmentId Memory::TakeGranted(StakeId stake, PageClass page_class) {
  const SegmentId segment = arena_.Take();
  if (segment == kNoSegment) Count(stake, page_class, -1);
  return segment;
}

void Memory::GiveBack(StakeId stake, PageClass page_class, SegmentId segment) {
  arena_.GiveBack(segment);
  Count(stake, page_class, -1);
}

void Memory::Adopt(StakeId stake, PageClass page_class) { Count(stake, page_class, 1); }

void Memory::Count(StakeId stake, PageClass page_class, int32_t segments) {
  MutexLock lock(mutex_);
  in_use_[static_cast<int>(page_class)] += static_cast<uint32_t>(segments);
  Held(claims_[stake], page_class) += static_cast<uint32_t>(segments);
}

uint32_t Memory::SetCapacity(uint32_t capacity) {
  uint32_t before = 0;
  {
    MutexLock lock(mutex_);
    before = InUse();
    capacity_ = capacity;
  }
  for (Spared spared;;) {
    std::optional<Victim> victim;
    {
      MutexLock lock(mutex_);
      if (InUse() > capacity_) victim = FindVictim(spared);
    }
    if (!victim) break;
    Evict(*victim, spared);
  }
  arena_.ReleaseWarm();
  MutexLock lock(mutex_);
  if (before > InUse()) relinquished_ += before - InUse();
  return std::max(capacity_, InUse());
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
