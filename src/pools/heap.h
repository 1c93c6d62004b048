// The slots of one owner's segments of one class: allocation and freeing, in place.
//
// Each size class has a list of its segments with free slots. A payload goes to the smallest class
// that has a free slot and wastes no more than the heap's slack, which shrinks as the heap grows:
// a small guest shares few segments among many sizes, a large one packs tightly. Only when no such
// slot exists is a segment taken from Memory.
//
// Ephemeral segments also stand in a list by age, which eviction follows (FIFO: private ephemeral
// gets remove the page, so that use cannot be seen). A slot freed in one is not reused at once, or
// new pages would be evicted with their old neighbours: the segment first has to become sparse, and
// then counts as young again.
//
// Thread-safe; Allocate may evict, and so must be called without any lock of this room.
#ifndef TMEM_POOLS_HEAP_H_
#define TMEM_POOLS_HEAP_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "pools/memory.h"
#include "pools/segment.h"
#include "pools/segment_table.h"

namespace tmem {

class Heap {
 public:
  // `stake` is who takes the segments; it must outlive the heap. They are claimed for `owner`.
  Heap(Memory& memory, Memory::StakeId stake, KeyspaceId owner, PageClass page_class);
  // REQUIRES: every slot was freed, or the heap abandoned.
  ~Heap();
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  // A slot that is allocated and not yet part of the index: freed unless published. Eviction
  // leaves its segment alone meanwhile.
  class Slot {
   public:
    Slot(Slot&& other) noexcept
        : heap_(std::exchange(other.heap_, nullptr)),
          segment_(other.segment_),
          slot_(other.slot_),
          payload_(other.payload_) {}
    Slot& operator=(Slot&& other) noexcept {
      std::swap(heap_, other.heap_);
      std::swap(segment_, other.segment_);
      std::swap(slot_, other.slot_);
      std::swap(payload_, other.payload_);
      return *this;
    }
    ~Slot();

    SegmentId segment() const { return segment_; }
    uint32_t slot() const { return slot_; }
    std::byte* payload() const { return payload_; }
    RecordHeader& header() const { return heap_->HeaderIn(segment_, slot_); }
    // The record is in the index from now on; whoever takes it out there frees the slot.
    void Publish() {
      heap_->table_[segment_].unpublished.fetch_sub(1, std::memory_order_release);
      heap_ = nullptr;
    }

   private:
    friend class Heap;
    Slot(Heap* heap, SegmentId segment, uint32_t slot, std::byte* payload)
        : heap_(heap), segment_(segment), slot_(slot), payload_(payload) {}
    Heap* heap_;
    SegmentId segment_;
    uint32_t slot_;
    std::byte* payload_;
  };

  enum class Growth { kAllowed, kForbidden };

  // nullopt if the heap may not have the memory. REQUIRES: 1 <= payload_bytes <= kPageSize.
  std::optional<Slot> Allocate(size_t payload_bytes, Growth growth = Growth::kAllowed);

  // REQUIRES: each was published here, taken out of the index by the caller, and not freed since.
  void Free(std::span<const Location> locations);

  // The oldest segment that has no unpublished slot, or kNoSegment. It gets no more allocations;
  // its headers may be read until LetGo, and it goes back to Memory when its last slot is freed
  // after that.
  SegmentId DetachOldest();
  // Likewise a segment that has few pages for its size, of those whose pages would fit into free
  // slots of others of that size: the sparsest of the kLooks of each size that came last into the
  // lists, among them one that was let go just before. REQUIRES: a persistent heap.
  static constexpr uint32_t kLooks = 8;
  SegmentId DetachSparsest();
  // Whether there may be one. Without the lock, and so perhaps late.
  bool loose() const { return loose_.load(std::memory_order_relaxed) > 0; }
  // Slots in use of a detached segment, as many as there is room for; returns how many.
  size_t UsedSlots(SegmentId segment, std::span<uint32_t> slots) const;
  // A persistent segment that is still used takes part again. True if it was given back.
  bool LetGo(SegmentId segment);

  // Takes over a segment that survived in the arena: the slots whose records are live are in use.
  // One without any is given back. REQUIRES: older segments were adopted before; nobody looks at
  // the segment meanwhile.
  void Adopt(SegmentId segment, SizeClass size_class);
  // Forgets all segments and frees what this process keeps of them; they stay claimed, for the next
  // process. REQUIRES: nobody uses the heap any more.
  void Abandon();

  // Brings into the cache what freeing the record will touch, but not the payload.
  void PrepareToFree(Location location) const {
    __builtin_prefetch(&HeaderOf(location), /*rw=*/1);
    PrefetchDescriptor(location);
  }

  void PrefetchDescriptor(Location location) const {
    __builtin_prefetch(&table_[location.segment()], /*rw=*/1);
  }

  // Valid while the caller keeps the record from being freed.
  std::byte* PayloadOf(Location location) const {
    // Only one slot size holds a raw page: no need to wait for the descriptor, which is seldom in
    // the cache.
    const SizeClass size_class = location.length() > kMaxCompressed
                                     ? SizeClassFor(kPageSize)
                                     : table_[location.segment()].size_class;
    return SlotAddress(arena_.BaseOf(location.segment()), size_class, location.slot());
  }
  RecordHeader& HeaderOf(Location location) const {
    return HeaderIn(location.segment(), location.slot());
  }
  RecordHeader& HeaderIn(SegmentId segment, uint32_t slot) const {
    return HeaderAt(arena_.BaseOf(segment), slot);
  }
  uint32_t SlotsIn(SegmentId segment) const { return SlotsPerSegment(table_[segment].size_class); }

  // Heap memory of segment descriptors and their bitmaps.
  size_t bytes() const;

 private:
  std::optional<Slot> AllocateFromPartial(size_t payload_bytes) TMEM_REQUIRES(mutex_);
  Slot AllocateIn(SegmentId segment) TMEM_REQUIRES(mutex_);
  void Open(SegmentId segment, SizeClass size_class) TMEM_REQUIRES(mutex_);
  // Describes the segment, all of whose slots are free, and enters it into the lists.
  void Describe(SegmentId segment, SizeClass size_class) TMEM_REQUIRES(mutex_);
  // True if that was the segment's last slot: it is in no list any more, for GiveBack.
  bool FreeSlot(SegmentId segment, uint32_t slot) TMEM_REQUIRES(mutex_);
  bool CloseIfUnused(SegmentId segment) TMEM_REQUIRES(mutex_);
  bool HasASegmentFree(SizeClass size_class) const TMEM_REQUIRES(mutex_);
  void AddFree(SizeClass size_class, int slots) TMEM_REQUIRES(mutex_);
  void Detach(SegmentId segment) TMEM_REQUIRES(mutex_);
  void Attach(SegmentId segment) TMEM_REQUIRES(mutex_);
  void List(SegmentId segment) TMEM_REQUIRES(mutex_);
  void Unlist(SegmentId segment) TMEM_REQUIRES(mutex_);
  void Abandon(const Slot& slot);
  void GiveBack(SegmentId segment);

  Memory& memory_;
  Arena& arena_;
  SegmentTable& table_;
  const Memory::StakeId stake_;
  const KeyspaceId owner_;
  const PageClass page_class_;

  mutable Mutex mutex_{LockRank::kHeap};
  uint32_t segments_ TMEM_GUARDED_BY(mutex_) = 0;
  size_t bitmap_bytes_ TMEM_GUARDED_BY(mutex_) = 0;
  std::vector<SegmentList> partial_ TMEM_GUARDED_BY(mutex_);  // by size class
  std::vector<uint32_t> free_ TMEM_GUARDED_BY(mutex_);        // slots, likewise; none of detached
  SegmentList by_age_ TMEM_GUARDED_BY(mutex_);                // oldest first
  std::atomic<uint32_t> loose_{0};  // sizes with as many slots free as a segment has
};

}  // namespace tmem

#endif  // TMEM_POOLS_HEAP_H_
