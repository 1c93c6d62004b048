// What a heap knows of each of its segments, by segment number, and lists of segments.
//
// Descriptors stand in one range of addresses, reserved for the largest capacity and touched as
// segments are used, so that a descriptor is found without a lock and never moves.
//
// Not thread-safe as such: a descriptor is guarded by the lock of the heap that owns the segment,
// but for the fields that say otherwise.
#ifndef TMEM_POOLS_SEGMENT_TABLE_H_
#define TMEM_POOLS_SEGMENT_TABLE_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/result.h"
#include "pools/segment.h"

namespace tmem {

struct SegmentLink {
  SegmentId next = kNoSegment;
  SegmentId previous = kNoSegment;
};

struct SegmentInfo {
  // Constant while the segment has slots in use; may then be read without the lock.
  SizeClass size_class = 0;
  bool listed = false;           // in the partial list of its size class
  bool detached = false;         // being evicted: no allocations
  uint32_t used = 0;             // slots in use, unpublished ones included; 1 more while detached
  uint32_t first_free_word = 0;  // no free slot below this word of the bitmap
  std::unique_ptr<uint64_t[]> free_slots;  // bit set: free
  SegmentLink partial;
  SegmentLink age;
  // Slots allocated and not yet published. Raised under the lock; lowered without it, with release,
  // which pairs with the acquire of who wants to evict: then all headers can be read.
  std::atomic<uint32_t> unpublished{0};
};

class SegmentTable {
 public:
  static Result<std::unique_ptr<SegmentTable>> Create(uint32_t max_segments);
  ~SegmentTable();

  SegmentInfo& operator[](SegmentId segment) { return infos_[segment]; }

 private:
  SegmentTable(SegmentInfo* infos, uint32_t max_segments)
      : infos_(infos), max_segments_(max_segments) {}

  SegmentInfo* const infos_;
  const uint32_t max_segments_;
};

// A doubly linked list of segments through one of their links.
class SegmentList {
 public:
  SegmentList(SegmentTable& table, SegmentLink SegmentInfo::* link) : table_(&table), link_(link) {}

  SegmentId first() const { return first_; }
  SegmentId last() const { return last_; }
  SegmentId After(SegmentId segment) const { return Link(segment).next; }
  SegmentId Before(SegmentId segment) const { return Link(segment).previous; }
  void PushFront(SegmentId segment);
  void PushBack(SegmentId segment);
  // REQUIRES: the segment is in this list.
  void Remove(SegmentId segment);

 private:
  SegmentLink& Link(SegmentId segment) const { return (*table_)[segment].*link_; }

  SegmentTable* table_;
  SegmentLink SegmentInfo::* link_;
  SegmentId first_ = kNoSegment;
  SegmentId last_ = kNoSegment;
};

}  // namespace tmem

#endif  // TMEM_POOLS_SEGMENT_TABLE_H_
