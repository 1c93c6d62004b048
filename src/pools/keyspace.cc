#include "pools/keyspace.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/copy.h"
#include "base/touch.h"
#include "pools/checksum.h"
#include "pools/keyspace_inside.h"

namespace tmem {

namespace {

// How many objects are looked at under one hold of a partition's lock.
constexpr ObjectNumber kObjectsPerHold = 1024;

}  // namespace

std::shared_ptr<Keyspace> Keyspace::Create(Memory& memory, NodeBlocks& blocks,
                                           ObjectRecords& records,
                                           const DictionaryFiles& dictionaries,
                                           const Identity& identity, const Terms& terms) {
  const Memory::StakeId stake = memory.Join(terms);
  std::shared_ptr<Keyspace> keyspace(
      new Keyspace(memory, stake, blocks, records, dictionaries, identity));
  memory.SetEvictable(stake, keyspace);
  return keyspace;
}

Keyspace::Keyspace(Memory& memory, Memory::StakeId stake, NodeBlocks& blocks,
                   ObjectRecords& records, const DictionaryFiles& dictionaries,
                   const Identity& identity)
    : memory_(memory),
      stake_(stake),
      shrinks_(memory.ShrinkFlag(stake)),
      hash_key_(identity.hash_key),
      nodes_(blocks),
      heaps_{Heap(memory, stake, identity.id, PageClass::kEphemeral),
             Heap(memory, stake, identity.id, PageClass::kPersistent)},
      ghosts_{Ghosts(PageClass::kEphemeral, memory.ghost_sampling()),
              Ghosts(PageClass::kPersistent, memory.ghost_sampling())},
      dictionaries_(dictionaries, identity.id) {
  for (uint32_t number = 0; number < kPartitions; ++number) {
    partitions_[number] = std::make_unique<Partition>(identity, records, number);
  }
}

Keyspace::~Keyspace() { memory_.Leave(stake_); }

Keyspace::Found Keyspace::Find(Partition& partition, uint64_t hash, const PageRef& ref) {
  Found found;
  found.number = partition.objects.Find(hash, ref.pool, ref.object);
  if (found.number == kNoObject) return found;
  found.object = partition.objects.At(found.number);
  found.location = found.object->pages.Find(ref.index.value);
  return found;
}

Keyspace::Found Keyspace::Find(Partition& partition, PageName name) {
  Found found{.number = name.object / kPartitions};
  found.object = partition.objects.At(found.number);
  if (found.object != nullptr) found.location = found.object->pages.Find(name.index);
  return found;
}

void Keyspace::Count(PoolShard& shard, Location location, int64_t sign) {
  const auto delta = static_cast<uint64_t>(sign);
  shard.pages.store(shard.pages.load(std::memory_order_relaxed) + delta, std::memory_order_relaxed);
  shard.stored.same_filled += location.codec() == Codec::kSameFilled ? delta : 0;
  shard.stored.compressed += IsCompressed(location.codec()) ? delta : 0;
  shard.stored.dense += IsDense(location.codec()) ? delta : 0;
  shard.stored.dense_bytes += IsDense(location.codec()) ? delta * location.length() : 0;
  shard.stored.payload_bytes += delta * location.length();
  shard.stored.charged_bytes += delta * location.charge().value;
}

// Marks records dead whose pages left the index, for whoever would scan their segments, and what is
// counted of them; the caller frees their slots.
void Keyspace::Forget(Partition& partition, PageClass page_class, ObjectNumber number,
                      std::span<const Location> locations) {
  Object& object = *partition.objects.At(number);
  PoolShard& shard = partition.pools[object.pool];
  Bytes charged;
  for (const Location location : locations) {
    heap(page_class).HeaderOf(location).state.store(0, std::memory_order_relaxed);
    Count(shard, location, -1);
    charged += location.charge();
  }
  object.payer->Release(charged);
  object.charged -= charged;
  if (object.pages.size() == 0) {
    partition.objects.Erase(number);
    --shard.stored.objects;
  }
}

// Takes a page out of the index; the caller frees its slot.
Location Keyspace::TakeOut(Partition& partition, PageClass page_class, const Found& found,
                           uint32_t index) {
  const Location location = found.object->pages.Remove(index, nodes_);
  Forget(partition, page_class, found.number, {&location, 1});
  return location;
}

// ---- pages in groups ----

// Pages whose partitions are locked as long as this lives, and which were waited for together.
//
// Waits are together if little is done between the loads that cause them: a processor looks no
// further ahead than some hundred instructions, and past no locked one. Hence all locks are taken
// first and let go last, and the way to each page is gone in steps, each for all of them.
class Keyspace::Group {
 public:
  struct Page {
    const PageRef* ref = nullptr;
    Partition* partition = nullptr;  // nullptr: another thread has its lock
    ObjectNumber number = kNoObject;
    PageTree::Node* leaf = nullptr;
    const Location* location = nullptr;  // until the index is changed
    const RecordHeader* header = nullptr;
  };

  // REQUIRES: refs.size() <= Store::kGroup.
  Group(Keyspace& keyspace, std::span<const PageRef> refs,
        PageClass page_class) TMEM_NO_THREAD_SAFETY_ANALYSIS : keyspace_(keyspace),
                                                               count_(refs.size()) {
    Page* next = pages_.data();
    for (const PageRef& ref : refs) {
      Page& page = *next++;
      page.ref = &ref;
      const uint64_t hash = keyspace.HashOf(ref);
      const uint32_t bit = 1u << PartitionNumber(hash);
      Partition& partition = keyspace.PartitionOf(hash);
      if ((locked_ & bit) == 0 && !partition.mutex.try_lock()) continue;
      locked_ |= bit;
      page.partition = &partition;
      page.number = partition.objects.Find(hash, ref.pool, ref.object);
      if (page.number == kNoObject) continue;
      page.leaf = partition.objects.At(page.number)->pages.LeafFor(ref.index.value);
    }
    const Heap& within = keyspace.heap(page_class);
    for (const Page& page : pages()) Touch(page.leaf);
    for (Page& page : pages()) {
      if (page.leaf != nullptr) page.location = PageTree::FindIn(page.leaf, page.ref->index.value);
    }
    for (const Page& page : pages()) Touch(page.location);
    for (Page& page : pages()) {
      if (page.location != nullptr) page.header = &within.HeaderOf(*page.location);
    }
    for (const Page& page : pages()) Touch(page.header);
    for (const Page& page : pages()) {
      if (page.location != nullptr) within.PrefetchDescriptor(*page.location);
    }
  }
  ~Group() TMEM_NO_THREAD_SAFETY_ANALYSIS {
    for (; locked_ != 0; locked_ &= locked_ - 1) {
      const auto number = static_cast<size_t>(std::countr_zero(locked_));
      keyspace_.partitions_[number]->mutex.unlock();
    }
  }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  std::span<Page> pages() { return std::span(pages_).first(count_); }

 private:
  Keyspace& keyspace_;
  const size_t count_;
  std::array<Page, Store::kGroup> pages_;
  uint32_t locked_ = 0;  // partitions, a bit each
};

void Keyspace::Prefetch(std::span<const PageRef> refs, PageClass page_class, Ahead ahead) {
  Group group(*this, refs, page_class);
  if (ahead != Ahead::kGets) return;
  for (const auto& page : group.pages()) {
    if (page.location != nullptr) Touch(heap(page_class).PayloadOf(*page.location));
  }
}

// ---- put ----

// Enters the filled slot under the page's index, in place of what was found there; the caller then
// publishes it. Makes the object if there is none; its payer is the charge's. (`found` is not
// passed by value: to copy it here is to load by one instruction what Find stored by two, and that
// waits for all stores between.)
bool Keyspace::Enter(Partition& partition, uint64_t hash, const PageRef& ref, Found& found,
                     Incoming& page) {
  auto& [payload, slot, charge, compress_later] = page;
  PoolShard& shard = partition.pools[ref.pool];
  if (found.object == nullptr) {
    found.number = partition.objects.Insert(hash, ref.pool, ref.object);
    if (found.number == kNoObject) return false;
    found.object = partition.objects.At(found.number);
    found.object->payer = &charge.ledger();
    ++shard.stored.objects;
  }
  RecordHeader& header = slot.header();
  header.object = NumberInHeader(found.number, PartitionNumber(hash));
  header.index = ref.index.value;
  header.length = static_cast<uint16_t>(payload.bytes.size());
  header.codec = payload.codec;
  header.dictionary = payload.dictionary;
  const Location location(slot.segment(), slot.slot(), payload.codec, payload.bytes.size());
  if (found.location != nullptr) {
    *found.location = location;
  } else {
    found.object->pages.Exchange(ref.index.value, location, nodes_);
  }
  // Release: whoever sees the record live sees all of it.
  header.state.store(++partition.last_sequence << 8 | RecordHeader::kLive,
                     std::memory_order_release);
  found.object->charged += charge.amount();
  charge.Keep();
  Count(shard, location, 1);
  if (compress_later) backlog_.Add({header.object, header.index});
  return true;
}

// Moves an object's charge to another ledger, if that has room.
bool Keyspace::TakeOver(Object& object, Ledger& payer) {
  if (object.payer == &payer) return true;
  if (!payer.TryCharge(object.charged)) return false;
  object.payer->Release(object.charged);
  object.payer = &payer;
  return true;
}

void Keyspace::PrepareToFill(const Incoming& page) {
  Touch(&page.slot.header());
  PrepareStreamingCopy(page.slot.payload(), page.payload.bytes.size());
}

void Keyspace::Fill(Incoming& page, PageClass page_class) {
  const std::span<const std::byte> bytes = page.payload.bytes;
  StreamingCopy(page.slot.payload(), bytes.data(), bytes.size());
  page.slot.header().checksum = page_class == PageClass::kPersistent ? Checksum(bytes) : 0;
}

PutStatus Keyspace::Publish(const PageRef& ref, PageClass page_class, Incoming&& page,
                            OldPage old_page) {
  const uint64_t hash = HashOf(ref);
  Partition& partition = PartitionOf(hash);
  Freed freed(heap(page_class));
  MutexLock lock(partition.mutex);
  if (!ref.ticket.Valid()) return PutStatus::kNoPool;
  PoolCounters& counters = partition.pools[ref.pool].counters;
  ++counters.puts;
  Found found = Find(partition, hash, ref);
  const Location old = found.location != nullptr ? *found.location : Location();
  if (old) heap(page_class).PrepareToFree(old);

  const bool replaces = old_page == OldPage::kDropped || old;
  if (found.object != nullptr && !TakeOver(*found.object, page.charge.ledger())) {
    ++counters.puts_no_memory;
    counters.dup_puts_flushed += replaces;
    if (old) freed.Add(TakeOut(partition, page_class, found, ref.index.value));
    return PutStatus::kNoMemory;
  }
  if (!Enter(partition, hash, ref, found, page)) {
    ++counters.puts_no_memory;  // for a new object: there is no old page to drop
    return PutStatus::kNoMemory;
  }
  ++counters.puts_stored;
  counters.dup_puts_replaced += replaces;
  if (page_class == PageClass::kPersistent) NoteStored(hash, ref.index.value);
  if (old) {
    heap(page_class).HeaderOf(old).state.store(0, std::memory_order_relaxed);
    Count(partition.pools[ref.pool], old, -1);
    found.object->charged -= old.charge();
    freed.Add(old);
  }
  page.slot.Publish();
  if (old) found.object->payer->Release(old.charge());
  return PutStatus::kStored;
}

PutStatus Keyspace::Refuse(const PageRef& ref, PageClass page_class, PutStatus why,
                           OldPage old_page) {
  const uint64_t hash = HashOf(ref);
  Partition& partition = PartitionOf(hash);
  Freed freed(heap(page_class));
  MutexLock lock(partition.mutex);
  if (!ref.ticket.Valid()) return PutStatus::kNoPool;
  PoolCounters& counters = partition.pools[ref.pool].counters;
  ++counters.puts;
  ++(why == PutStatus::kFrozen ? counters.puts_frozen : counters.puts_no_memory);
  const Found found = Find(partition, hash, ref);
  counters.dup_puts_flushed += old_page == OldPage::kDropped || found.location != nullptr;
  if (found.location != nullptr) {
    freed.Add(TakeOut(partition, page_class, found, ref.index.value));
  }
  return why;
}

bool Keyspace::MakeRoomByReplacing(const PageRef& ref, PageClass page_class) {
  const uint64_t hash = HashOf(ref);
  Partition& partition = PartitionOf(hash);
  Freed freed(heap(page_class));
  MutexLock lock(partition.mutex);
  if (!ref.ticket.Valid()) return false;
  const Found found = Find(partition, hash, ref);
  if (found.location == nullptr) return false;
  freed.Add(TakeOut(partition, page_class, found, ref.index.value));
  return true;
}

// ---- get ----

bool Keyspace::PoolIsEmpty(uint32_t pool) const {
  return std::ranges::all_of(partitions_, [pool](const auto& partition) {
    return partition->pools[pool].pages.load(std::memory_order_relaxed) == 0;
  });
}

GetStatus Keyspace::Get(const PageRef& ref, PageClass page_class, Removal removal,
                        MutablePageView page, PageCodec& codec) {
  const uint64_t hash = HashOf(ref);
  Partition& partition = PartitionOf(hash);
  std::array<std::byte, kMaxCompressed> copy;
  std::span<const std::byte> payload;
  Location location;
  uint32_t checksum = 0;
  std::shared_ptr<const Dictionary> dictionary;
  {
    MutexLock lock(partition.mutex);
    if (!ref.ticket.Valid()) return GetStatus::kNoPool;
    PoolShard& shard = partition.pools[ref.pool];
    ++shard.counters.gets;
    const Found found = Find(partition, hash, ref);
    if (found.location == nullptr) {
      return PoolIsEmpty(ref.pool) ? GetStatus::kEmpty : GetStatus::kMiss;
    }
    location = *found.location;
    const RecordHeader& header = heap(page_class).HeaderOf(location);
    checksum = header.checksum;
    if (NeedsDictionary(location.codec())) dictionary = dictionaries_.Find(header.dictionary);
    const std::byte* const stored = heap(page_class).PayloadOf(location);
    if (removal == Removal::kOnHit) {
      TakeOut(partition, page_class, found, ref.index.value);
      payload = {stored, location.length()};  // the slot is ours until we free it
    } else {
      if (page_class == PageClass::kEphemeral) {
        *found.location = location.WithReferenced();
      } else if (location.stayed()) {
        *found.location = location.WithoutStayed();
      }
      std::byte* const to = location.codec() == Codec::kRaw ? page.data() : copy.data();
      Copy(to, stored, location.length());
      payload = {to, location.length()};
    }
    ++shard.counters.gets_found;
  }

  bool good =
      page_class == PageClass::kEphemeral || Checksum(payload, dictionary.get()) == checksum;
  // A raw page that was copied out is in place already.
  good = good && (payload.data() == page.data() ||
                  codec.Decompress(location.codec(), payload, page, dictionary.get()));
  if (removal == Removal::kOnHit) heap(page_class).Free({&location, 1});
  if (good) return GetStatus::kHit;

  Freed freed(heap(page_class));
  MutexLock lock(partition.mutex);
  if (!ref.ticket.Valid()) return GetStatus::kCorrupt;
  ++partition.pools[ref.pool].counters.corrupt;
  --partition.pools[ref.pool].counters.gets_found;
  const Found found = Find(partition, hash, ref);
  if (page_class == PageClass::kEphemeral && found.location != nullptr &&
      found.location->SameRecord(location)) {
    freed.Add(TakeOut(partition, page_class, found, ref.index.value));
  }
  return GetStatus::kCorrupt;
}

// ---- flush ----

// REQUIRES: the page's partition is locked.
FlushStatus Keyspace::FlushFound(Partition& partition, const PageRef& ref, PageClass page_class,
                                 ObjectNumber number, Freed& freed) {
  if (!ref.ticket.Valid()) return FlushStatus::kNoPool;
  PoolCounters& counters = partition.pools[ref.pool].counters;
  ++counters.flushes;
  Object* const object = number != kNoObject ? partition.objects.At(number) : nullptr;
  const Location location =
      object != nullptr ? object->pages.Remove(ref.index.value, nodes_) : Location();
  if (location) {
    ++counters.flushes_found;
    Forget(partition, page_class, number, {&location, 1});
    freed.Add(location);
  }
  return FlushStatus::kDone;
}

FlushStatus Keyspace::FlushPage(const PageRef& ref, PageClass page_class) {
  const uint64_t hash = HashOf(ref);
  Partition& partition = PartitionOf(hash);
  Freed freed(heap(page_class));
  MutexLock lock(partition.mutex);
  return FlushFound(partition, ref, page_class, partition.objects.Find(hash, ref.pool, ref.object),
                    freed);
}

void Keyspace::FlushPages(std::span<const PageRef> refs, PageClass page_class,
                          std::span<FlushStatus> statuses) TMEM_NO_THREAD_SAFETY_ANALYSIS {
  uint32_t busy = 0;  // pages, a bit each
  {
    Freed freed(heap(page_class));
    Group group(*this, refs, page_class);
    for (size_t i = 0; i < refs.size(); ++i) {
      const auto& page = group.pages()[i];
      if (page.partition == nullptr) {
        busy |= 1u << i;
      } else {
        statuses[i] = FlushFound(*page.partition, refs[i], page_class, page.number, freed);
      }
    }
  }
  for (; busy != 0; busy &= busy - 1) {
    const auto i = static_cast<size_t>(std::countr_zero(busy));
    statuses[i] = FlushPage(refs[i], page_class);
  }
}

// Removes pages of the object until `freed` is full. True if none are left (and no object).
bool Keyspace::DrainObject(Partition& partition, PageClass page_class, ObjectNumber number,
                           Freed& freed) {
  Object* const object = partition.objects.At(number);
  for (bool gone = false; !gone;) {
    if (freed.full()) return false;
    const std::span<const Location> taken = freed.AddFirstOf(object->pages, nodes_);
    // Their headers lie anywhere: all are fetched at once.
    for (const Location location : taken) heap(page_class).PrepareToFree(location);
    gone = object->pages.size() == 0;
    Forget(partition, page_class, number, taken);
  }
  return true;
}

FlushStatus Keyspace::FlushObject(const PageRef& ref, PageClass page_class, PageCount budget) {
  const uint64_t hash = HashOf(ref);
  Partition& partition = PartitionOf(hash);
  uint64_t left = budget.value;
  do {
    Freed freed(heap(page_class), left);
    MutexLock lock(partition.mutex);
    if (!ref.ticket.Valid()) return FlushStatus::kNoPool;
    PoolCounters& counters = partition.pools[ref.pool].counters;
    const ObjectNumber number = partition.objects.Find(hash, ref.pool, ref.object);
    if (number == kNoObject) {
      ++counters.object_flushes;
      return FlushStatus::kDone;
    }
    if (DrainObject(partition, page_class, number, freed)) {
      ++counters.object_flushes;
      ++counters.object_flushes_found;
      return FlushStatus::kDone;
    }
    left -= freed.count();
  } while (left > 0);
  return FlushStatus::kMore;
}

// ---- pools ----

bool Keyspace::Drain(uint32_t pool, PageClass page_class, PageCount budget) {
  uint64_t left = budget.value;
  for (auto& partition : partitions_) {
    for (bool empty = false; !empty;) {
      Freed freed(heap(page_class), left);
      MutexLock lock(partition->mutex);
      do {
        empty = partition->objects.FirstOf(pool) == kNoObject;
      } while (!empty &&
               DrainObject(*partition, page_class, partition->objects.FirstOf(pool), freed));
      left -= freed.count();
      if (!empty && left == 0) return false;
    }
  }
  return true;
}

PoolCounters Keyspace::TakeCounters(uint32_t pool) {
  PoolCounters sum;
  for (auto& partition : partitions_) {
    MutexLock lock(partition->mutex);
    sum += std::exchange(partition->pools[pool].counters, PoolCounters{});
  }
  return sum;
}

PoolCounters Keyspace::CountersOf(uint32_t pool) const {
  PoolCounters sum;
  for (const auto& partition : partitions_) {
    MutexLock lock(partition->mutex);
    sum += partition->pools[pool].counters;
  }
  return sum;
}

StoredCounters Keyspace::StoredIn(uint32_t pool) const {
  StoredCounters sum;
  for (const auto& partition : partitions_) {
    MutexLock lock(partition->mutex);
    sum += partition->pools[pool].stored;
    sum.pages += partition->pools[pool].pages.load(std::memory_order_relaxed);
  }
  return sum;
}

struct Keyspace::Repayment {
  uint32_t pool;
  PageClass page_class;
  const Ledger& from;
  Bytes until;
  std::span<Ledger* const> others;
};

// Goes on with object number `next`, until `freed` is full or the lock was held long enough. False
// if there is nothing left to do in this partition.
bool Keyspace::RepaySome(Partition& partition, const Repayment& repayment, ObjectNumber& next,
                         Freed& freed) {
  const ObjectNumber end = partition.objects.end();
  for (ObjectNumber looks = 0; looks < kObjectsPerHold; ++looks, ++next) {
    if (next >= end || repayment.from.charged() <= repayment.until) return false;
    Object* const object = partition.objects.At(next);
    if (object == nullptr || object->pool != repayment.pool || object->payer != &repayment.from) {
      continue;
    }
    const auto taker = std::ranges::find_if(
        repayment.others, [object](Ledger* other) { return other->TryCharge(object->charged); });
    if (taker != repayment.others.end()) {
      object->payer->Release(object->charged);
      object->payer = *taker;
      continue;
    }
    const size_t freed_before = freed.count();
    const bool gone = DrainObject(partition, repayment.page_class, next, freed);
    partition.pools[repayment.pool].counters.evicted += freed.count() - freed_before;
    if (!gone) return true;
  }
  return true;
}

void Keyspace::Repay(uint32_t pool, PageClass page_class, const Ledger& from, Bytes until,
                     std::span<Ledger* const> others) {
  const Repayment repayment{pool, page_class, from, until, others};
  for (auto& partition : partitions_) {
    ObjectNumber next = 0;
    for (bool more = true; more;) {
      Freed freed(heap(page_class));
      MutexLock lock(partition->mutex);
      more = RepaySome(*partition, repayment, next, freed);
    }
  }
}

// ---- what more memory would save ----

uint64_t Keyspace::PageHash(uint64_t hash, uint32_t index) {
  uint64_t mixed = (hash ^ index) * 0x9e3779b97f4a7c15;  // 2^64 / golden ratio, odd
  mixed = (mixed ^ mixed >> 32) * 0xd6e8feb86659fd93;    // rrmxmx's, P. Evensen
  return mixed ^ mixed >> 32;
}

void Keyspace::NoteRefused(const PageRef& ref, PageClass page_class, std::optional<Bytes> charge) {
  if (!memory_.watches_ghosts()) return;
  ghosts_[static_cast<size_t>(page_class)].Lost(PageHash(HashOf(ref), ref.index.value), charge);
}

void Keyspace::NoteStored(uint64_t hash, uint32_t index) {
  if (!memory_.watches_ghosts()) return;
  ghosts_[static_cast<size_t>(PageClass::kPersistent)].Stored(PageHash(hash, index));
}

void Keyspace::NoteMissed(const PageRef& ref) {
  if (!memory_.watches_ghosts()) return;
  ghosts_[static_cast<size_t>(PageClass::kEphemeral)].Missed(
      PageHash(HashOf(ref), ref.index.value));
}

// One segment more can hold pages of either class.
std::optional<double> Keyspace::TakeSaved() {
  return std::max(ghosts_[0].TakeSaved(), ghosts_[1].TakeSaved());
}

size_t Keyspace::bytes() const {
  size_t sum = sizeof(*this) + kPartitions * sizeof(Partition) + nodes_.bytes();
  for (const auto& heap : heaps_) sum += heap.bytes();
  sum += backlog_.bytes() + dictionaries_.bytes();
  for (const auto& partition : partitions_) {
    MutexLock lock(partition->mutex);
    sum += partition->objects.bytes();
  }
  return sum;
}

}  // namespace tmem
