#include <optional>

#include "pools/checksum.h"
#include "pools/keyspace.h"

namespace tmem {

namespace {

// What is looked at under one hold of a partition's lock. A page costs a read of cold memory.
constexpr uint64_t kPagesPerHold = 4;
constexpr ObjectNumber kObjectsPerHold = 64;

}  // namespace

uint64_t Keyspace::Scrub(ScrubPlace& place, PageCount budget, const OnCorrupt& on_corrupt) {
  uint64_t checked = 0;
  for (uint64_t spent = 0; spent + kPagesPerHold <= budget.value; spent += kPagesPerHold) {
    if (place.partition == kPartitions) break;
    Partition& partition = *partitions_[place.partition];
    MutexLock lock(partition.mutex);
    if (!ScrubSome(partition, place, checked, on_corrupt))
      place = {.partition = place.partition + 1};
  }
  return checked;
}

// False if there is nothing left to check in this partition.
bool Keyspace::ScrubSome(Partition& partition, ScrubPlace& place, uint64_t& checked,
                         const OnCorrupt& on_corrupt) {
  const ObjectNumber end = partition.objects.end();
  const uint64_t enough = checked + kPagesPerHold;
  for (ObjectNumber looks = 0; looks < kObjectsPerHold; ++looks, ++place.object, place.index = 0) {
    if (place.object >= end) return false;
    Object* const object = partition.objects.At(place.object);
    if (object == nullptr) continue;
    while (place.index <= UINT32_MAX) {
      const auto page = object->pages.FirstFrom(static_cast<uint32_t>(place.index));
      if (!page || !HasChecksum(page->location)) break;  // one object's pages are of one class
      if (checked == enough) return true;
      ++checked;
      place.index = uint64_t{page->index} + 1;
      if (!Verifies(page->location)) on_corrupt(object->pool, object->id, PageIndex{page->index});
    }
  }
  return true;
}

bool Keyspace::HasChecksum(Location location) const {
  const auto owner = memory_.arena().OwnerOf(location.segment());
  return owner && owner->page_class == PageClass::kPersistent;
}

bool Keyspace::Verifies(Location location) const {
  const Heap& within = heaps_[static_cast<size_t>(PageClass::kPersistent)];
  return Checksum({within.PayloadOf(location), location.length()}) ==
         within.HeaderOf(location).checksum;
}

}  // namespace tmem
