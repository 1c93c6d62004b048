// For the files of Keyspace only: what several of them work with.
#ifndef TMEM_POOLS_KEYSPACE_INSIDE_H_
#define TMEM_POOLS_KEYSPACE_INSIDE_H_

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "pools/keyspace.h"

namespace tmem {

// How many pages leave the index under one hold of a partition's lock.
inline constexpr size_t kFreedPerHold = 64;
static_assert(Keyspace::kMovedAtOnce <= kFreedPerHold);

// Slots whose pages left the index, gathered under a partition's lock and freed outside of it.
class Keyspace::Freed {
 public:
  // Takes kFreedPerHold slots, or `most` if that is less.
  explicit Freed(Heap& heap, uint64_t most = kFreedPerHold)
      : heap_(heap), most_(std::min(most, uint64_t{kFreedPerHold})) {}
  Freed(const Freed&) = delete;
  Freed& operator=(const Freed&) = delete;
  ~Freed() { Flush(); }

  size_t count() const { return count_; }
  bool full() const { return count_ == most_; }
  // REQUIRES: !full().
  void Add(Location location) {
    if (location) locations_[count_++] = location;
  }
  // As many as there is room for, of those that the tree gives at once; returns them.
  // REQUIRES: !full().
  std::span<const Location> AddFirstOf(PageTree& pages, NodeMemory& memory) {
    const size_t added =
        pages.TakeFirst(std::span(locations_).subspan(count_, most_ - count_), memory);
    count_ += added;
    return {&locations_[count_ - added], added};
  }
  // REQUIRES: no lock of this room is held; nor at the end of this object's life.
  void Flush() { heap_.Free({locations_.data(), std::exchange(count_, 0)}); }

 private:
  Heap& heap_;
  const size_t most_;
  union {  // most operations add none or one: clearing the others would be their main cost
    std::array<Location, kFreedPerHold> locations_;
  };
  size_t count_ = 0;
};

// An object's number in its keyspace, as record headers have it.
inline uint32_t NumberInHeader(ObjectNumber number, uint32_t partition) {
  return number * Keyspace::kPartitions + partition;
}

inline bool IsCompressed(Codec codec) { return codec == Codec::kLz4 || IsDense(codec); }

// What a pass over the pages may still look at before it lets a partition's lock go.
struct Keyspace::Looks {
  uint64_t pages;
  ObjectNumber objects;
};

// Calls `visit(object, name, location)`, under the partition's lock, for the persistent pages of
// the place's partition from there on, and moves the place: until `visit` returns false, or `looks`
// are used up. If nothing is left in the partition, the place is the next one's beginning.
template <class Visit>
void Keyspace::VisitSome(PassPlace& place, Looks looks, Visit visit) {
  Partition& partition = *partitions_[place.partition];
  MutexLock lock(partition.mutex);
  const ObjectNumber end = partition.objects.end();
  for (; looks.objects > 0; --looks.objects, ++place.object, place.index = 0) {
    if (place.object >= end) {
      place = {.partition = place.partition + 1};
      return;
    }
    Object* const object = partition.objects.At(place.object);
    if (object == nullptr) continue;
    while (place.index <= UINT32_MAX) {
      const auto page = object->pages.FirstFrom(static_cast<uint32_t>(place.index));
      // One object's pages are of one class.
      if (!page || ClassOf(*page->location) != PageClass::kPersistent) break;
      if (looks.pages-- == 0) return;
      place.index = uint64_t{page->index} + 1;
      if (!visit(*object, PageName{NumberInHeader(place.object, place.partition), page->index},
                 *page->location))
        return;
    }
  }
}

}  // namespace tmem

#endif  // TMEM_POOLS_KEYSPACE_INSIDE_H_
