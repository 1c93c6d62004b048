// The memory that segments are made of, one range of addresses, used from its low end; and their
// descriptors.
//
// Address space for the largest capacity is reserved at once; memory comes with the first write
// and goes back to the system when a segment is given back, but for a few that are kept warm.
//
// Thread-safe. Policy (who may have a segment) is Memory's; this only hands them out.
#ifndef TMEM_POOLS_ARENA_H_
#define TMEM_POOLS_ARENA_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <utility>

#include "base/mutex.h"
#include "base/result.h"
#include "base/units.h"
#include "pools/segment.h"
#include "pools/segment_table.h"

namespace tmem {

class Arena {
 public:
  // Free segments that keep their memory, so that a store that hovers around a boundary does not
  // pay page faults for it.
  static constexpr size_t kWarmSegments = 32;

  static Result<std::unique_ptr<Arena>> Create(uint32_t max_segments);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  uint32_t max_segments() const { return max_segments_; }

  // A free segment, warm ones first, then low ones, with unspecified contents. kNoSegment if
  // max_segments() are taken.
  SegmentId Take();
  // REQUIRES: the segment was taken; nobody reads or writes it any more.
  void GiveBack(SegmentId segment);
  // Returns the memory of all free segments to the system (or leaves it to the thread that is at it
  // already).
  void ReleaseWarm();

  std::byte* BaseOf(SegmentId segment) const { return base_ + size_t{segment} * kSegmentSize; }
  SegmentTable& table() const { return *table_; }

 private:
  Arena(std::byte* base, uint32_t max_segments, std::unique_ptr<SegmentTable> table)
      : base_(base), max_segments_(max_segments), table_(std::move(table)) {}
  // False, and the end of releasing, if no segment is warm.
  bool ReleaseOneWarm();
  void ReleaseMemory(SegmentId segment) const;

  std::byte* const base_;
  const uint32_t max_segments_;
  const std::unique_ptr<SegmentTable> table_;

  Mutex mutex_{LockRank::kLeaf};
  uint32_t untouched_ TMEM_GUARDED_BY(mutex_) = 0;  // from here on, never taken
  uint32_t taken_ TMEM_GUARDED_BY(mutex_) = 0;      // by Take, until GiveBack is done with them
  bool releasing_warm_ TMEM_GUARDED_BY(mutex_) = false;
  std::set<SegmentId> cold_ TMEM_GUARDED_BY(mutex_);  // free, without memory
  std::set<SegmentId> warm_ TMEM_GUARDED_BY(mutex_);  // free, with memory
};

}  // namespace tmem

#endif  // TMEM_POOLS_ARENA_H_
