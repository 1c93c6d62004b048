// Pages that change their place, and those that are dropped, so that segments come free.
#include <array>
#include <span>

#include "base/copy.h"
#include "pools/keyspace.h"
#include "pools/keyspace_inside.h"

namespace tmem {

// The page's record is in the slot from now on, as `now` says; the old one is to be freed.
void Keyspace::Supersede(Partition& partition, PageClass page_class, const Found& found,
                         Location now, const Payload& payload, uint32_t checksum,
                         Heap::Slot& slot) {
  const Location old = *found.location;
  RecordHeader& old_header = heap(page_class).HeaderOf(old);
  RecordHeader& header = slot.header();
  header.object = old_header.object;
  header.index = old_header.index;
  header.checksum = checksum;
  header.length = static_cast<uint16_t>(payload.bytes.size());
  header.codec = payload.codec;
  header.dictionary = payload.dictionary;
  StreamingCopy(slot.payload(), payload.bytes.data(), payload.bytes.size());
  // From here to the next line there are two; a process that finds both takes the later one.
  header.state.store(++partition.last_sequence << 8 | RecordHeader::kLive,
                     std::memory_order_release);
  old_header.state.store(0, std::memory_order_relaxed);
  *found.location = now;
  slot.Publish();

  PoolShard& shard = partition.pools[found.object->pool];
  Count(shard, old, -1);
  Count(shard, now, 1);
  const Bytes saved = old.charge() - now.charge();
  found.object->payer->Release(saved);
  found.object->charged -= saved;
}

// Moves a page to another segment, if one has room; the old location is to be freed.
bool Keyspace::Move(Partition& partition, PageClass page_class, const Found& found) {
  Heap& within = heap(page_class);
  const Location old = *found.location;
  auto slot = within.Allocate(old.length(), Heap::Growth::kForbidden);
  if (!slot) return false;
  const RecordHeader& header = within.HeaderOf(old);
  const Payload payload{old.codec(), {within.PayloadOf(old), old.length()}, header.dictionary};
  Supersede(partition, page_class, found, old.MovedTo(slot->segment(), slot->slot()), payload,
            header.checksum, *slot);
  return true;
}

template <class Act>
void Keyspace::WithRecord(PageClass page_class, SegmentId segment, uint32_t slot, Act act) {
  const RecordHeader& header = heap(page_class).HeaderIn(segment, slot);
  // Acquire: pairs with the release in Enter.
  if ((header.state.load(std::memory_order_acquire) & RecordHeader::kLive) == 0) return;
  Partition& partition = *partitions_[header.object % kPartitions];
  MutexLock lock(partition.mutex);
  // Between the look at the header and the lock the page may have gone, and its object's number
  // may name another: only the index tells.
  const uint32_t index = header.index;
  const Found found = Find(partition, {header.object, index});
  if (found.location == nullptr || found.location->segment() != segment ||
      found.location->slot() != slot) {
    return;
  }
  act(partition, found, index);
}

bool Keyspace::EvictOldestSegment() {
  Heap& from = heap(PageClass::kEphemeral);
  const SegmentId segment = from.DetachOldest();
  if (segment == kNoSegment) return false;
  {
    Freed freed(from);
    const auto evict = [&](Partition& partition, const Found& found,
                           uint32_t index) TMEM_REQUIRES(partition.mutex) {
      const Location old = *found.location;
      if (old.referenced() && Move(partition, PageClass::kEphemeral, found)) {
        freed.Add(old);
        return;
      }
      ++partition.pools[found.object->pool].counters.evicted;
      if (memory_.watches_ghosts()) {
        const uint64_t hash = ObjectTable::Hash(hash_key_, found.object->pool, found.object->id);
        ghosts_[static_cast<size_t>(PageClass::kEphemeral)].Lost(PageHash(hash, index),
                                                                 old.charge());
      }
      freed.Add(TakeOut(partition, PageClass::kEphemeral, found, index));
    };
    const uint32_t slots = from.SlotsIn(segment);
    for (uint32_t slot = 0; slot < slots; ++slot) {
      WithRecord(PageClass::kEphemeral, segment, slot, evict);
      if (freed.full()) freed.Flush();
    }
  }
  from.LetGo(segment);
  return true;
}

Keyspace::Compacted Keyspace::Compact() {
  Heap& within = heap(PageClass::kPersistent);
  if (!within.loose()) return Compacted::kNothing;
  const SegmentId segment = within.DetachSparsest();
  if (segment == kNoSegment) return Compacted::kNothing;
  {
    Freed freed(within);
    const auto move = [&](Partition& partition, const Found& found, uint32_t)
                          TMEM_REQUIRES(partition.mutex) {
                            const Location old = *found.location;
                            if (Move(partition, PageClass::kPersistent, found)) freed.Add(old);
                          };
    std::array<uint32_t, kMovedAtOnce> slots;
    const size_t count = within.UsedSlots(segment, slots);
    for (const uint32_t slot : std::span(slots).first(count)) {
      WithRecord(PageClass::kPersistent, segment, slot, move);
    }
  }
  return within.LetGo(segment) ? Compacted::kSegment : Compacted::kSome;
}

}  // namespace tmem
