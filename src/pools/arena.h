// The memory that segments are made of, one range of addresses, used from its low end; their
// descriptors; and the records that tell the next process whose they were.
//
// Memory comes when a segment is taken, and goes back to the system when it is given back, but for
// a few that are kept warm.
//
// Thread-safe. Policy (who may have a segment) is Memory's; this only hands them out.
#ifndef TMEM_POOLS_ARENA_H_
#define TMEM_POOLS_ARENA_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "base/units.h"
#include "pools/records.h"
#include "pools/region.h"
#include "pools/segment.h"
#include "pools/segment_table.h"

namespace tmem {

class Arena {
 public:
  // Free segments that keep their memory, so that a store that hovers around a boundary does not
  // pay page faults for it.
  static constexpr size_t kWarmSegments = 32;

  // Segments and records as StoreFiles has them, for that many segments and one to spare. Those
  // that are in use by their records are taken already.
  static Result<std::unique_ptr<Arena>> Create(uint32_t max_segments, Region segments,
                                               Region records);
  // Of memory of this process.
  static Result<std::unique_ptr<Arena>> Create(uint32_t max_segments);
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  uint32_t max_segments() const { return max_segments_; }

  // A free segment, warm ones first, then low ones, with unspecified contents. kNoSegment if
  // max_segments() are taken, or the system has no memory for another.
  SegmentId Take();
  // REQUIRES: the segment was taken; nobody reads or writes it any more.
  void GiveBack(SegmentId segment);
  // Returns the memory of all free segments to the system (or leaves it to the thread that is at it
  // already).
  void ReleaseWarm();

  // From now on the segment's records count. REQUIRES: taken; none of its record headers is live.
  void Claim(SegmentId segment, const SegmentOwner& owner);
  // They do not any more. REQUIRES: claimed, or survived.
  void Disclaim(SegmentId segment);

  // Whose the segment is; none if it is free. REQUIRES: it is not claimed or disclaimed meanwhile.
  std::optional<SegmentOwner> OwnerOf(SegmentId segment) const {
    return SegmentRecord::OwnerOf(RecordOf(segment).word.load(std::memory_order_relaxed));
  }

  struct Survivor {
    SegmentId segment;
    SegmentOwner owner;
    uint64_t opened;  // of two, the one with the lower number was claimed first
  };
  // The segments that a process before this one claimed. REQUIRES: none was claimed since.
  std::vector<Survivor> Survivors() const;

  std::byte* BaseOf(SegmentId segment) const {
    return segments_.base() + size_t{segment} * kSegmentSize;
  }
  SegmentTable& table() const { return *table_; }

 private:
  Arena(uint32_t max_segments, Region segments, Region records,
        std::unique_ptr<SegmentTable> table);
  SegmentRecord& RecordOf(SegmentId segment) const {
    return reinterpret_cast<SegmentRecord*>(records_.base())[segment];
  }
  SegmentId TakeFree() TMEM_EXCLUDES(mutex_);
  // Sorts all segments into taken, cold and untouched.
  void FindSurvivors();
  // False, and the end of releasing, if no segment is warm.
  bool ReleaseOneWarm();
  void ReleaseMemory(SegmentId segment) const;

  const uint32_t max_segments_;
  const Region segments_;
  const Region records_;
  const std::unique_ptr<SegmentTable> table_;
  std::atomic<uint64_t> last_opened_{0};

  Mutex mutex_{LockRank::kLeaf};
  uint32_t untouched_ TMEM_GUARDED_BY(mutex_) = 0;  // from here on, never taken
  uint32_t taken_ TMEM_GUARDED_BY(mutex_) = 0;      // by Take, until GiveBack is done with them
  bool releasing_warm_ TMEM_GUARDED_BY(mutex_) = false;
  std::set<SegmentId> cold_ TMEM_GUARDED_BY(mutex_);  // free, without memory
  std::set<SegmentId> warm_ TMEM_GUARDED_BY(mutex_);  // free, with memory
};

}  // namespace tmem

#endif  // TMEM_POOLS_ARENA_H_
