#include "pools/memory.h"

#include <algorithm>
#include <utility>

namespace tmem {

namespace {

// Another thread may take the segment that we evicted for ourselves; after so many times the store
// is in such demand that refusing is the better answer.
constexpr int kMaxEvictionsPerTake = 16;

// Segments are scarce when only one in so many is left to persistent pages.
constexpr uint32_t kNearlyAll = 64;

constexpr Claim kNoClaim{.terms = {.weight = 0, .has_persistent = false}};

// Others read the flag all the time: it is not written in vain.
void Set(std::atomic<bool>& flag, bool value) {
  if (flag.load(std::memory_order_relaxed) != value) flag.store(value, std::memory_order_relaxed);
}

}  // namespace

Memory::Memory(Arena& arena, uint32_t capacity, const PolicySettings& settings)
    : arena_(arena), settings_(settings) {
  host_.capacity = capacity;
  Use(MakePolicy(settings));
}

// ---- claimants ----

Memory::StakeId Memory::Join(const Terms& terms) {
  MutexLock lock(mutex_);
  StakeId stake = claims_.size();
  if (free_stakes_.empty()) {
    claims_.push_back(kNoClaim);
    allotments_.emplace_back();
    holders_.emplace_back();
  } else {
    stake = free_stakes_.back();
    free_stakes_.pop_back();
  }
  claims_[stake].tenant = ++last_tenant_;
  SetTerms(stake, terms);
  return stake;
}

void Memory::Change(StakeId stake, Terms terms) {
  MutexLock lock(mutex_);
  terms.surrendered = holders_[stake].surrendered.value_or(terms.surrendered);
  SetTerms(stake, terms);
}

void Memory::SetWeight(StakeId stake, uint32_t weight) {
  MutexLock lock(mutex_);
  Terms terms = claims_[stake].terms;
  terms.weight = weight;
  SetTerms(stake, terms);
}

void Memory::SetSurrendered(StakeId stake, uint32_t surrendered) {
  MutexLock lock(mutex_);
  holders_[stake].surrendered = surrendered;
  Terms terms = claims_[stake].terms;
  terms.surrendered = surrendered;
  SetTerms(stake, terms);
}

void Memory::SetTerms(StakeId stake, const Terms& terms) {
  Claim& claim = claims_[stake];
  if (claim.terms == terms) return;
  host_.promised -= PromisedTo(claim);
  claim.terms = terms;
  host_.promised += PromisedTo(claim);
  Allot();
}

void Memory::SetEvictable(StakeId stake, std::weak_ptr<Evictable> evictable) {
  MutexLock lock(mutex_);
  holders_[stake].evictable = std::move(evictable);
}

void Memory::Leave(StakeId stake) {
  MutexLock lock(mutex_);
  SetTerms(stake, kNoClaim.terms);
  claims_[stake] = kNoClaim;
  holders_[stake] = Holder();
  free_stakes_.push_back(stake);
}

void Memory::Hold(StakeId stake, PageClass page_class, int segments) {
  Claim& claim = claims_[stake];
  const auto delta = static_cast<uint32_t>(segments);
  if (page_class == PageClass::kPersistent) {
    host_.promised -= PromisedTo(claim);
    claim.persistent += delta;
    host_.persistent += delta;
    host_.promised += PromisedTo(claim);
    Weigh(stake);
    SetCrowded();
    return;
  }
  claim.ephemeral += delta;
  host_.ephemeral += delta;
  // Eviction drops the oldest; a younger segment that empties by itself counts as that one.
  std::deque<uint64_t>& takes = holders_[stake].takes;
  if (segments > 0) {
    takes.push_back(++last_take_);
  } else {
    takes.pop_front();
  }
  claim.oldest = takes.empty() ? 0 : takes.front();
  Rank(stake);
}

// ---- decisions ----

void Memory::Allot() {
  policy_->Allot(host_, claims_, allotments_);
  for (StakeId stake = 0; stake < claims_.size(); ++stake) {
    Weigh(stake);
    Rank(stake);
  }
  SetCrowded();
}

void Memory::Weigh(StakeId stake) {
  Holder& holder = holders_[stake];
  Set(*holder.shrinks, HoldsTooMuch(claims_[stake], allotments_[stake]));
  host_.missing -= holder.missing;
  holder.missing = MissingTo(claims_[stake], allotments_[stake]);
  host_.missing += holder.missing;
}

void Memory::SetCrowded() {
  Set(crowded_, host_.crowded());
  Set(scarce_, host_.persistent + std::max(2u, host_.capacity / kNearlyAll) > host_.capacity);
}

void Memory::Rank(StakeId stake) {
  std::optional<EvictionRank>& rank = holders_[stake].rank;
  std::optional<EvictionRank> now;
  if (claims_[stake].ephemeral > 0) now = policy_->RankOf(claims_[stake], allotments_[stake]);
  if (now == rank) return;
  if (rank) by_rank_.erase({*rank, stake});
  if (now) by_rank_.insert({*now, stake});
  rank = now;
}

std::shared_ptr<const std::atomic<bool>> Memory::ShrinkFlag(StakeId stake) const {
  MutexLock lock(mutex_);
  return holders_[stake].shrinks;
}

bool Memory::MustShrink(StakeId stake) {
  MutexLock lock(mutex_);
  if (!host_.crowded()) return false;
  (void)Refuse(stake);  // to want more may entitle it to what it lent
  if (!host_.crowded() || !HoldsTooMuch(claims_[stake], allotments_[stake])) return false;
  ++holders_[stake].refused;
  return true;
}

// Who is refused wants more from now on, which may entitle it to what it lent until now.
std::optional<Refusal> Memory::Refuse(StakeId stake) {
  Claim& claim = claims_[stake];
  auto refusal = RefusePersistent(claim, allotments_[stake], host_);
  if (!refusal || *refusal == Refusal::kCap) return refusal;
  holders_[stake].patience = kPatience;
  if (!std::exchange(claim.wants_more, true)) {
    Allot();
    refusal = RefusePersistent(claim, allotments_[stake], host_);
  }
  return refusal;
}

std::optional<Memory::StakeId> Memory::FirstOf(const Spared& spared,
                                               std::optional<StakeId> taker) const {
  const auto is_spared = [&](StakeId one) {
    return std::ranges::find(spared, one) != spared.end();
  };
  const auto first = std::ranges::find_if_not(by_rank_, is_spared, &Ranked::stake);
  if (first == by_rank_.end()) return std::nullopt;
  if (!taker || claims_[*taker].ephemeral == 0 || is_spared(*taker)) return first->stake;
  Claim after = claims_[*taker];
  ++after.ephemeral;
  const EvictionRank rank = policy_->RankOf(after, allotments_[*taker]);
  return rank.GoesBefore(first->rank) ? *taker : first->stake;
}

std::optional<Memory::Victim> Memory::FindVictim(Eviction why, Spared& spared,
                                                 std::optional<StakeId> taker) const {
  while (const auto stake = FirstOf(spared, taker)) {
    if (auto evictable = holders_[*stake].evictable.lock()) {
      return Victim{*stake, std::move(evictable), stake == taker ? Eviction::kReplaced : why};
    }
    spared.push_back(*stake);  // it is going away, and gives all back by itself
  }
  return std::nullopt;
}

std::optional<Memory::Victim> Memory::OwnVictim(StakeId stake, Eviction why,
                                                const Spared& spared) const {
  if (claims_[stake].ephemeral == 0 || std::ranges::find(spared, stake) != spared.end()) {
    return std::nullopt;
  }
  auto evictable = holders_[stake].evictable.lock();
  return evictable ? std::optional(Victim{stake, std::move(evictable), why}) : std::nullopt;
}

Memory::Verdict Memory::Decide(StakeId stake, PageClass page_class, Spared& spared,
                               std::optional<Victim>& victim) {
  if (page_class == PageClass::kPersistent && Refuse(stake)) return Verdict::kRefused;
  if (const auto limit = AtOwnLimit(claims_[stake], allotments_[stake])) {
    victim =
        OwnVictim(stake, *limit == Refusal::kCap ? Eviction::kCap : Eviction::kReplaced, spared);
  } else if (host_.in_use() < host_.capacity) {
    Hold(stake, page_class, 1);
    return Verdict::kGranted;
  } else if (page_class == PageClass::kPersistent) {
    victim = FindVictim(Eviction::kPersistent, spared);
  } else {
    victim = FindVictim(Eviction::kOverShare, spared, stake);
  }
  return victim ? Verdict::kEvictFirst : Verdict::kRefused;
}

Refusal Memory::WhyRefused(StakeId stake, PageClass page_class) const {
  MutexLock lock(mutex_);
  const Claim& claim = claims_[stake];
  std::optional<Refusal> refusal;
  if (page_class == PageClass::kPersistent) {
    refusal = RefusePersistent(claim, allotments_[stake], host_);
  } else {
    refusal = AtOwnLimit(claim, allotments_[stake]);
  }
  return refusal.value_or(Refusal::kCapacity);
}

bool Memory::Evict(const Victim& victim, Spared& spared) {
  if (!victim.evictable->EvictOldestSegment()) {
    spared.push_back(victim.stake);
    return false;
  }
  NoteEviction(victim.stake, victim.why);
  return true;
}

void Memory::NoteEviction(StakeId stake, Eviction why) {
  MutexLock lock(mutex_);
  ++evicted_;
  holders_[stake].evictions.Add(why);
}

SegmentId Memory::Take(StakeId stake, PageClass page_class) {
  Spared spared;
  for (int evictions = 0; evictions <= kMaxEvictionsPerTake;) {
    std::optional<Victim> victim;
    Verdict verdict;
    {
      MutexLock lock(mutex_);
      verdict = Decide(stake, page_class, spared, victim);
      if (verdict == Verdict::kRefused && page_class == PageClass::kPersistent) {
        ++holders_[stake].refused;
      }
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

void Memory::Count(StakeId stake, PageClass page_class, int segments) {
  MutexLock lock(mutex_);
  Hold(stake, page_class, segments);
}

uint32_t Memory::SetCapacity(uint32_t capacity) {
  uint64_t before = 0;
  {
    MutexLock lock(mutex_);
    before = host_.in_use();
    host_.capacity = capacity;
    Allot();
  }
  for (Spared spared;;) {
    std::optional<Victim> victim;
    {
      MutexLock lock(mutex_);
      if (host_.in_use() > host_.capacity) victim = FindVictim(Eviction::kShrunk, spared);
    }
    if (!victim) break;
    Evict(*victim, spared);
  }
  arena_.ReleaseWarm();
  MutexLock lock(mutex_);
  const auto in_use = static_cast<uint32_t>(host_.in_use());
  if (before > in_use) relinquished_ += before - in_use;
  return std::max(host_.capacity, in_use);
}

// ---- the policy ----

void Memory::Use(std::shared_ptr<const Policy> policy) {
  policy_ = std::move(policy);
  watches_ghosts_.store(policy_->watches_ghosts(), std::memory_order_relaxed);
  Allot();
}

void Memory::SetPolicy(const PolicySettings& settings) {
  MutexLock lock(mutex_);
  if (settings == settings_) return;  // what was learned stays
  settings_ = settings;
  Use(MakePolicy(settings));
}

PolicySettings Memory::policy() const {
  MutexLock lock(mutex_);
  return settings_;
}

void Memory::Tick(std::chrono::duration<double> interval) {
  std::shared_ptr<const Policy> policy;
  std::vector<Claim> claims;
  std::vector<Observation> observations;
  std::vector<std::shared_ptr<Evictable>> watched;
  HostMemory host;
  {
    MutexLock lock(mutex_);
    policy = policy_;
    host = host_;
    claims = claims_;
    for (size_t i = 0; i < holders_.size(); ++i) {
      Holder& holder = holders_[i];
      observations.push_back({.refused = std::exchange(holder.refused, 0)});
      if (policy_->watches_ghosts()) watched.push_back(holder.evictable.lock());
      if (holder.patience == 1) claims_[i].wants_more = false;
      if (holder.patience > 0) --holder.patience;
    }
  }
  // What takes long comes without the lock.
  for (size_t i = 0; i < watched.size(); ++i) {
    if (watched[i]) observations[i].saved = watched[i]->TakeSaved();
  }
  auto next = policy->Learn(host, claims, observations, interval);
  MutexLock lock(mutex_);
  if (next && policy_ == policy) {
    Use(std::move(next));
  } else {
    Allot();
  }
}

// ---- figures ----

Memory::Usage Memory::usage() const {
  MutexLock lock(mutex_);
  return {.capacity = host_.capacity,
          .in_use = {host_.ephemeral, host_.persistent},
          .evicted = evicted_,
          .relinquished = relinquished_};
}

std::array<uint32_t, kPageClasses> Memory::HeldBy(StakeId stake) const {
  MutexLock lock(mutex_);
  return {claims_[stake].ephemeral, claims_[stake].persistent};
}

Memory::Standing Memory::StandingOf(StakeId stake) const {
  MutexLock lock(mutex_);
  Standing standing{.claim = claims_[stake],
                    .allotment = allotments_[stake],
                    .evictions = holders_[stake].evictions};
  std::vector<Allotment> guarantees(claims_.size());
  standing.unclaimed = AllotGuarantees(host_, claims_, settings_.surrender_percent, guarantees);
  for (const Claim& claim : claims_) {
    if (claim.terms.has_persistent) standing.weights += claim.terms.weight;
  }
  standing.ephemeral_share = EphemeralShare(claims_, allotments_, host_, stake);
  return standing;
}

}  // namespace tmem
