// Who holds how many segments, and who gets the next one: carries out what admission.h and the
// policy in force decide.
//
// Every claimant (a guest, or a shared pool) has a Stake. Segments in use never exceed the
// capacity, except that a lowered capacity waits for persistent pages to go.
//
// What each is entitled to is computed when that can have changed (terms, policy, capacity, who
// wants more, and at each Tick), not when a segment is taken: that costs a comparison.
//
// Thread-safe. Take and SetCapacity evict, and so must be called without any lock of this room.
#ifndef TMEM_POOLS_MEMORY_H_
#define TMEM_POOLS_MEMORY_H_

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "base/mutex.h"
#include "pools/admission.h"
#include "pools/arena.h"
#include "pools/ghosts.h"
#include "pools/policy.h"
#include "pools/settings.h"

namespace tmem {

// What can give up its oldest ephemeral pages. Owned by shared pointers, so that it stays while it
// is being evicted from.
class Evictable {
 public:
  virtual ~Evictable() = default;
  // Drops the pages of one ephemeral segment and gives the segment back, at the latest when the
  // last operation under way on it ends. False if there is none to drop.
  virtual bool EvictOldestSegment() = 0;
  // As Ghosts::TakeSaved.
  virtual std::optional<double> TakeSaved() = 0;
};

class Memory {
 public:
  // A claimant's number with this Memory.
  using StakeId = size_t;

  // Who had segments refused wants more until it had none refused for so many ticks. Long enough
  // that its part is not lent while it pauses, or entitlements would swing.
  static constexpr uint32_t kPatience = 10;

  struct Usage {
    uint32_t capacity = 0;  // segments, all of these
    std::array<uint32_t, kPageClasses> in_use{};
    uint64_t evicted = 0;       // so far
    uint64_t relinquished = 0;  // so far, by lowering the capacity
  };
  // How one claimant stands, in segments.
  struct Standing {
    Claim claim;
    Allotment allotment;
    uint64_t weights = 0;    // of all guests
    uint32_t unclaimed = 0;  // of the capacity, by reserves and surrendered memory
    uint32_t ephemeral_share = 0;
    EvictionTally evictions;
  };

  // REQUIRES: capacity <= arena.max_segments(), settings.Validate().
  Memory(Arena& arena, uint32_t capacity, const PolicySettings& settings = {});

  Arena& arena() { return arena_; }

  StakeId Join(const Terms& terms);
  void Change(StakeId stake, Terms terms);
  void SetWeight(StakeId stake, uint32_t weight);
  // As observed: from now on in place of the terms'.
  void SetSurrendered(StakeId stake, uint32_t surrendered);
  // From whom the stake's ephemeral segments are to be evicted.
  void SetEvictable(StakeId stake, std::weak_ptr<Evictable> evictable);
  // REQUIRES: the stake holds no segments.
  void Leave(StakeId stake);

  // A segment for the stake, or kNoSegment if it may not have one now.
  SegmentId Take(StakeId stake, PageClass page_class);
  void GiveBack(StakeId stake, PageClass page_class, SegmentId segment);
  // The stake holds one segment more: one that survived in the arena, whatever the capacity is now.
  void Adopt(StakeId stake, PageClass page_class);
  // Set while the stake holds more persistent segments than it is entitled to, for whoever puts:
  // relaxed, and cheap to look at. If it is seen set, and the host is crowded: ask MustShrink.
  std::shared_ptr<const std::atomic<bool>> ShrinkFlag(StakeId stake) const;
  bool crowded() const { return crowded_.load(std::memory_order_relaxed); }
  // Whether persistent pages hold nearly all segments, so that each of them counts. As cheap.
  bool scarce() const { return scarce_.load(std::memory_order_relaxed); }
  // Whether a persistent put is to be refused although there is a slot free, so that the stake's
  // segments come free: counts as refused.
  bool MustShrink(StakeId stake);
  // Why Take refused just now.
  Refusal WhyRefused(StakeId stake, PageClass page_class) const;
  // The stake evicted a segment by itself.
  void NoteEviction(StakeId stake, Eviction why);

  // As Store::SetCapacity, in segments. REQUIRES: capacity <= arena.max_segments().
  uint32_t SetCapacity(uint32_t capacity);

  // From the next segment on. REQUIRES: settings.Validate().
  void SetPolicy(const PolicySettings& settings);
  PolicySettings policy() const;
  // Of how many pages claimants are to watch one for ghosts.
  uint32_t ghost_sampling() const { return Ghosts::SamplingFor(arena_.max_segments()); }
  // Whether claimants are to keep ghosts. Cheap: any thread may ask at each page that was lost.
  bool watches_ghosts() const { return watches_ghosts_.load(std::memory_order_relaxed); }
  // Lets the policy learn from what happened in the last `interval`. One call at a time.
  void Tick(std::chrono::duration<double> interval);

  Usage usage() const;
  std::array<uint32_t, kPageClasses> HeldBy(StakeId stake) const;
  Standing StandingOf(StakeId stake) const;

 private:
  // What belongs to a stake besides its claim.
  struct Holder {
    std::weak_ptr<Evictable> evictable;
    // Stays with those who look at it.
    std::shared_ptr<std::atomic<bool>> shrinks = std::make_shared<std::atomic<bool>>(false);
    std::deque<uint64_t> takes;           // serial numbers of its ephemeral segments, oldest first
    std::optional<EvictionRank> rank;     // if it has ephemeral segments: as in by_rank_
    uint32_t missing = 0;                 // as in host_.missing
    uint64_t refused = 0;                 // persistent segments, since the last tick
    std::optional<uint32_t> surrendered;  // as observed: in place of the terms'
    uint32_t patience = 0;                // ticks until it no longer wants more
    EvictionTally evictions;
  };
  struct Victim {
    StakeId stake;
    std::shared_ptr<Evictable> evictable;
    Eviction why;
  };
  // Stakes that had nothing to drop just now: all their pages are being taken or put, or gone.
  using Spared = std::vector<StakeId>;
  // Who is evicted from first; of equals the one that came first.
  struct Ranked {
    EvictionRank rank;
    StakeId stake;
    bool operator<(const Ranked& other) const {
      if (rank.GoesBefore(other.rank)) return true;
      return !other.rank.GoesBefore(rank) && stake < other.stake;
    }
  };
  enum class Verdict { kGranted, kRefused, kEvictFirst };

  Verdict Decide(StakeId stake, PageClass page_class, Spared& spared, std::optional<Victim>& victim)
      TMEM_REQUIRES(mutex_);
  std::optional<Refusal> Refuse(StakeId stake) TMEM_REQUIRES(mutex_);
  // A `taker`, for whose ephemeral pages this makes room, counts as if it held one segment more: at
  // its share already, it replaces its own pages.
  std::optional<StakeId> FirstOf(const Spared& spared, std::optional<StakeId> taker) const
      TMEM_REQUIRES(mutex_);
  std::optional<Victim> FindVictim(Eviction why, Spared& spared,
                                   std::optional<StakeId> taker = {}) const TMEM_REQUIRES(mutex_);
  std::optional<Victim> OwnVictim(StakeId stake, Eviction why, const Spared& spared) const
      TMEM_REQUIRES(mutex_);
  bool Evict(const Victim& victim, Spared& spared);
  SegmentId TakeGranted(StakeId stake, PageClass page_class) TMEM_EXCLUDES(mutex_);
  void Count(StakeId stake, PageClass page_class, int segments) TMEM_EXCLUDES(mutex_);
  void Hold(StakeId stake, PageClass page_class, int segments) TMEM_REQUIRES(mutex_);
  void SetTerms(StakeId stake, const Terms& terms) TMEM_REQUIRES(mutex_);
  void Allot() TMEM_REQUIRES(mutex_);
  // What follows from the stake's claim and allotment: for persistent segments, for ephemeral ones.
  void Weigh(StakeId stake) TMEM_REQUIRES(mutex_);
  void Rank(StakeId stake) TMEM_REQUIRES(mutex_);
  void SetCrowded() TMEM_REQUIRES(mutex_);
  void Use(std::shared_ptr<const Policy> policy) TMEM_REQUIRES(mutex_);

  Arena& arena_;
  std::atomic<bool> watches_ghosts_;  // relaxed, as the next: the answer may be late
  std::atomic<bool> crowded_ = false;
  std::atomic<bool> scarce_ = false;

  mutable Mutex mutex_{LockRank::kArena};
  PolicySettings settings_ TMEM_GUARDED_BY(mutex_);
  std::shared_ptr<const Policy> policy_ TMEM_GUARDED_BY(mutex_);
  HostMemory host_ TMEM_GUARDED_BY(mutex_);
  uint64_t evicted_ TMEM_GUARDED_BY(mutex_) = 0;
  uint64_t relinquished_ TMEM_GUARDED_BY(mutex_) = 0;
  uint64_t last_take_ TMEM_GUARDED_BY(mutex_) = 0;
  uint64_t last_tenant_ TMEM_GUARDED_BY(mutex_) = 0;
  // By StakeId. A stake that left has an empty claim until its number is used again.
  std::vector<Claim> claims_ TMEM_GUARDED_BY(mutex_);
  std::vector<Allotment> allotments_ TMEM_GUARDED_BY(mutex_);
  std::vector<Holder> holders_ TMEM_GUARDED_BY(mutex_);
  std::vector<StakeId> free_stakes_ TMEM_GUARDED_BY(mutex_);
  std::set<Ranked> by_rank_ TMEM_GUARDED_BY(mutex_);  // those who hold ephemeral segments
};

}  // namespace tmem

#endif  // TMEM_POOLS_MEMORY_H_
