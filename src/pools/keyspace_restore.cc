// How a keyspace is rebuilt from what a process before this one left, and left for the next.
#include <algorithm>

#include "pools/keyspace.h"

namespace tmem {

namespace {

// What a header says of its record fits the slot that it is in.
bool IsSound(const RecordHeader& header, SizeClass size_class) {
  if (!IsCodec(header.codec) || header.length == 0) return false;
  if (NeedsDictionary(header.codec) != (header.dictionary != kNoDictionary)) return false;
  if ((header.codec == Codec::kRaw) != (header.length == kPageSize)) return false;
  return header.length <= SlotSize(size_class);
}

}  // namespace

void Keyspace::RestoreObjects(std::span<ObjectBlock* const> blocks, uint32_t pools) {
  std::array<std::vector<ObjectBlock*>, kPartitions> by_partition;
  for (ObjectBlock* const block : blocks) {
    by_partition[block->partition % kPartitions].push_back(block);
  }
  for (uint32_t number = 0; number < kPartitions; ++number) {
    Partition& partition = *partitions_[number];
    MutexLock lock(partition.mutex);
    partition.objects.Restore(by_partition[number], pools);
  }
}

uint64_t Keyspace::RestorePages(const Arena::Survivor& segment,
                                std::span<const PageClass, ObjectTable::kPools> classes,
                                Ledger& payer) {
  Heap& from = heap(segment.owner.page_class);
  const uint32_t slots = SlotsPerSegment(segment.owner.size_class);
  uint64_t entered = 0;
  for (uint32_t slot = 0; slot < slots; ++slot) {
    RecordHeader& header = from.HeaderIn(segment.segment, slot);
    if ((header.state.load(std::memory_order_relaxed) & RecordHeader::kLive) == 0) continue;
    if (RestorePage(segment, slot, classes, payer)) {
      ++entered;
    } else {
      header.state.store(0, std::memory_order_relaxed);
    }
  }
  return entered;
}

bool Keyspace::RestorePage(const Arena::Survivor& segment, uint32_t slot,
                           std::span<const PageClass, ObjectTable::kPools> classes, Ledger& payer) {
  Heap& from = heap(segment.owner.page_class);
  const RecordHeader& header = from.HeaderIn(segment.segment, slot);
  if (!IsSound(header, segment.owner.size_class)) return false;
  Partition& partition = *partitions_[header.object % kPartitions];
  const ObjectNumber number = header.object / kPartitions;

  MutexLock lock(partition.mutex);
  const uint64_t sequence = header.state.load(std::memory_order_relaxed) >> 8;
  partition.last_sequence = std::max(partition.last_sequence, sequence);
  Object* const object = partition.objects.At(number);
  if (object == nullptr || classes[object->pool] != segment.owner.page_class) return false;

  const Location location(segment.segment, slot, header.codec, header.length);
  PoolShard& shard = partition.pools[object->pool];
  Location* const other = object->pages.Find(header.index);
  if (other != nullptr) {
    RecordHeader& other_header = from.HeaderOf(*other);
    if (other_header.state.load(std::memory_order_relaxed) >> 8 >= sequence) return false;
    other_header.state.store(0, std::memory_order_relaxed);
    Count(shard, *other, -1);
    payer.Release(other->charge());
    object->charged -= other->charge();
    *other = location;
  } else {
    if (object->payer == nullptr) {
      object->payer = &payer;
      ++shard.stored.objects;
    }
    object->pages.Exchange(header.index, location, nodes_);
  }
  (void)payer.TryCharge(location.charge());  // it has no cap yet
  object->charged += location.charge();
  Count(shard, location, 1);
  return true;
}

void Keyspace::RestoreSlots(const Arena::Survivor& segment) {
  heap(segment.owner.page_class).Adopt(segment.segment, segment.owner.size_class);
}

void Keyspace::FinishRestoring() {
  for (const auto& partition : partitions_) {
    MutexLock lock(partition->mutex);
    for (ObjectNumber number = 0; number < partition->objects.end(); ++number) {
      const Object* const object = partition->objects.At(number);
      if (object != nullptr && object->pages.size() == 0) partition->objects.Erase(number);
    }
  }
}

void Keyspace::Abandon() {
  for (const auto& partition : partitions_) {
    MutexLock lock(partition->mutex);
    partition->objects.Abandon(nodes_);
  }
  for (Heap& heap : heaps_) heap.Abandon();
  dictionaries_.Leave();
}

}  // namespace tmem
