// Who holds how many segments, and who gets the next one: carries out what admission.h decides.
//
// Every claimant (a guest, or a shared pool) has a Stake. Segments in use never exceed the
// capacity, except that a lowered capacity waits for persistent pages to go.
//
// Thread-safe. Take and SetCapacity evict, and so must be called without any lock of this room.
#ifndef TMEM_POOLS_MEMORY_H_
#define TMEM_POOLS_MEMORY_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "pools/admission.h"
#include "pools/arena.h"
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
};

class Memory {
 public:
  // A claimant's number with this Memory.
  using StakeId = size_t;

  struct Usage {
    uint32_t capacity = 0;  // segments, all of these
    std::array<uint32_t, kPageClasses> in_use{};
    uint64_t evicted = 0;       // so far
    uint64_t relinquished = 0;  // so far, by lowering the capacity
  };

  // REQUIRES: capacity <= arena.max_segments().
  Memory(Arena& arena, uint32_t capacity) : arena_(arena), capacity_(capacity) {}

  Arena& arena() { return arena_; }

  // `reserve` in segments.
  StakeId Join(uint32_t weight, uint32_t reserve);
  void Change(StakeId stake, uint32_t weight, uint32_t reserve);
  // From whom the stake's ephemeral segments are to be evicted.
  void SetEvictable(StakeId stake, std::weak_ptr<Evictable> evictable);
  // REQUIRES: the stake holds no segments.
  void Leave(StakeId stake);

  // A segment for the stake, or kNoSegment if it may not have one now.
  SegmentId Take(StakeId stake, PageClass page_class);
  void GiveBack(StakeId stake, PageClass page_class, SegmentId segment);
  // The stake holds one segment more: one that survived in the arena, whatever the capacity is now.
  void Adopt(StakeId stake, PageClass page_class);

  // As Store::SetCapacity, in segments. REQUIRES: capacity <= arena.max_segments().
  uint32_t SetCapacity(uint32_t capacity);

  Usage usage() const;
  std::array<uint32_t, kPageClasses> HeldBy(StakeId stake) const;

 private:
  struct Victim {
    StakeId stake;
    std::shared_ptr<Evictable> evictable;
  };
  // Stakes that had nothing to drop just now: all their pages are being taken or put, or gone.
  using Spared = std::vector<StakeId>;
  enum class Verdict { kGranted, kRefused, kEvictFirst };
  Verdict Decide(StakeId stake, PageClass page_class, Spared& spared, std::optional<Victim>& victim)
      TMEM_REQUIRES(mutex_);
  // `taker`: as for PickVictim.
  std::optional<Victim> FindVictim(Spared& spared, std::optional<StakeId> taker = {}) const
      TMEM_REQUIRES(mutex_);
  bool Evict(const Victim& victim, Spared& spared);
  SegmentId TakeGranted(StakeId stake, PageClass page_class) TMEM_EXCLUDES(mutex_);
  void Count(StakeId stake, PageClass page_class, int32_t segments) TMEM_EXCLUDES(mutex_);
  uint32_t InUse() const TMEM_REQUIRES(mutex_) { return in_use_[0] + in_use_[1]; }
  static uint32_t& Held(Claim& claim, PageClass page_class) {
    return page_class == PageClass::kPersistent ? claim.persistent : claim.ephemeral;
  }

  Arena& arena_;

  mutable Mutex mutex_{LockRank::kArena};
  uint32_t capacity_ TMEM_GUARDED_BY(mutex_);
  std::array<uint32_t, kPageClasses> in_use_ TMEM_GUARDED_BY(mutex_){};
  uint64_t evicted_ TMEM_GUARDED_BY(mutex_) = 0;
  uint64_t relinquished_ TMEM_GUARDED_BY(mutex_) = 0;
  // By StakeId. A stake that left has an empty claim until its number is used again.
  std::vector<Claim> claims_ TMEM_GUARDED_BY(mutex_);
  std::vector<std::weak_ptr<Evictable>> evictables_ TMEM_GUARDED_BY(mutex_);
  std::vector<StakeId> free_stakes_ TMEM_GUARDED_BY(mutex_);
};

}  // namespace tmem

#endif  // TMEM_POOLS_MEMORY_H_
