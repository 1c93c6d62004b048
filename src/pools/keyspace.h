// Objects and pages of one owner, a guest (all its private pools) or a shared pool, and the memory
// that holds them.
//
// Objects are spread over partitions by a hash of (pool, object id). An operation takes its one
// partition's lock; inside it, at most a heap's lock. Payloads are copied out under the partition
// lock (or after the page left the index); they are copied in, compressed and decompressed outside
// of it.
//
// A pool's life is decided outside: each operation brings a PoolTicket, which is checked once more
// under the partition lock, so that no page can enter a pool after the pool was emptied.
//
// Thread-safe. Publish and EvictOldestSegment may free memory; none may be called with a lock of
// this room held.
#ifndef TMEM_POOLS_KEYSPACE_H_
#define TMEM_POOLS_KEYSPACE_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "base/mutex.h"
#include "base/units.h"
#include "compress/page_codec.h"
#include "pools/backlog.h"
#include "pools/dictionaries.h"
#include "pools/ghosts.h"
#include "pools/heap.h"
#include "pools/ledger.h"
#include "pools/object_records.h"
#include "pools/object_table.h"
#include "pools/stats.h"
#include "pools/store.h"

namespace tmem {

// Proof that a pool existed, and whether it still is the same one.
struct PoolTicket {
  const std::atomic<uint64_t>* word = nullptr;
  uint64_t value = 0;

  // Acquire: pairs with the release by which pools come and go.
  bool Valid() const { return word->load(std::memory_order_acquire) == value; }
};

// A pool's number in its keyspace, below ObjectTable::kPools, and the rest of a handle.
struct PageRef {
  PoolTicket ticket;
  uint32_t pool;
  ObjectId object;
  PageIndex index;
};

class Keyspace final : public Evictable {
 public:
  static constexpr uint32_t kPartitions = 16;

  // What a keyspace is known by in the store's records, and the key of its objects' hash: a
  // successor finds each object in the partition where it was.
  struct Identity {
    KeyspaceId id;
    uint64_t hash_key;
  };

  // Takes a stake in `memory`, with this keyspace to evict from.
  static std::shared_ptr<Keyspace> Create(Memory& memory, NodeBlocks& blocks,
                                          ObjectRecords& records,
                                          const DictionaryFiles& dictionaries,
                                          const Identity& identity, const Terms& terms);
  // REQUIRES: no pages are left, or the keyspace was abandoned.
  ~Keyspace() override;

  Memory::StakeId stake() const { return stake_; }
  Heap& heap(PageClass page_class) { return heaps_[static_cast<int>(page_class)]; }

  // Whether a persistent put is to be refused for what the owner holds already, so that it shrinks
  // as its pages go. Costs a look at flags that seldom change, and is false unless they are set.
  bool MustShrink() const { return may_shrink() && memory_.MustShrink(stake_); }
  bool may_shrink() const { return shrinks_->load(std::memory_order_relaxed) && memory_.crowded(); }

  // ---- page operations ----

  // Brings into the cache what operations on these pages would wait for, one after the other, so
  // that they wait once for all of it. No more than a hint: nothing changes, pages may come and go,
  // and those of partitions that are busy are passed over.
  // REQUIRES: refs.size() <= Store::kGroup.
  void Prefetch(std::span<const PageRef> refs, PageClass page_class, Ahead ahead);

  // A put ends in one of Publish and Refuse, which count it. What became of the older page until
  // then:
  enum class OldPage : uint8_t {
    kUntouched,  // it is still there, if there was one
    kDropped,    // MakeRoomByReplacing found it and dropped it
  };

  // A page on its way in, with the room that it was given.
  struct Incoming {
    Payload payload;
    Heap::Slot slot;
    Charge charge;
    bool compress_later = false;
  };
  // Brings into the cache what Fill will write only a part of.
  static void PrepareToFill(const Incoming& page);
  // Copies the payload into the slot. Of several pages, best before any of them is published:
  // locked instructions wait until the copies have reached memory.
  static void Fill(Incoming& page, PageClass page_class);
  // Enters the page, replacing an older one. The object's charge moves to the ledger that pays for
  // this page; if that ledger has no room for the pages that the object has already, the put is
  // refused as kNoMemory and the old page dropped. REQUIRES: the slot was filled.
  PutStatus Publish(const PageRef& ref, PageClass page_class, Incoming&& page, OldPage old_page);
  // A put that will not be stored, by its reason; drops the older page.
  PutStatus Refuse(const PageRef& ref, PageClass page_class, PutStatus why, OldPage old_page);
  // Drops the older page, if there is one, ahead of a put that lacks room. True if there was.
  bool MakeRoomByReplacing(const PageRef& ref, PageClass page_class);

  enum class Removal { kOnHit, kNever };
  GetStatus Get(const PageRef& ref, PageClass page_class, Removal removal, MutablePageView page,
                PageCodec& codec);
  FlushStatus FlushPage(const PageRef& ref, PageClass page_class);
  // The same of several; of each, its status. REQUIRES: as many of both, at most Store::kGroup.
  void FlushPages(std::span<const PageRef> refs, PageClass page_class,
                  std::span<FlushStatus> statuses);
  // kDone, kMore or kNoPool. ref.index is ignored.
  FlushStatus FlushObject(const PageRef& ref, PageClass page_class, PageCount budget);

  // ---- pools ----

  // Removes at most `budget` pages of a pool whose tickets are no longer valid; true if none
  // remain.
  bool Drain(uint32_t pool, PageClass page_class, PageCount budget);
  // Forgets a drained pool's counters and returns them.
  PoolCounters TakeCounters(uint32_t pool);
  PoolCounters CountersOf(uint32_t pool) const;
  StoredCounters StoredIn(uint32_t pool) const;

  // Charges objects of `pool` for which `from` pays to the first of `others` that has room, or, if
  // none has, drops their pages: until `from` is charged no more than `until`, or pays for none.
  // Takes one pass over the objects, and each partition's lock only for some of them at a time.
  // REQUIRES: `from` comes to pay for no further objects meanwhile, or they need not be found.
  void Repay(uint32_t pool, PageClass page_class, const Ledger& from, Bytes until,
             std::span<Ledger* const> others);

  // ---- from one process to the next ----

  // In this order, on a new keyspace, before any other operation; restoring pages in parallel is
  // allowed. All pages and objects are charged to `payer`.
  //   blocks of the process before, in the order of their ordinals; `pools`: as
  //   ObjectTable::Restore
  void RestoreObjects(std::span<ObjectBlock* const> blocks, uint32_t pools);
  // Enters the segment's live records into the index. Of two records of one page the later one
  // counts; what does not fit its object or its pool's class (`classes`, by pool) is dropped.
  // Returns how many were entered.
  uint64_t RestorePages(const Arena::Survivor& segment,
                        std::span<const PageClass, ObjectTable::kPools> classes, Ledger& payer);
  // The slots of records that count are in use, the others free. REQUIRES: the pages of all
  // segments were restored.
  void RestoreSlots(const Arena::Survivor& segment);
  // Drops objects without pages.
  void FinishRestoring();

  // Forgets everything and frees what this process keeps of it: segments and objects stay for the
  // next one. REQUIRES: nobody uses the keyspace any more.
  void Abandon();

  // How far a pass over the pages came; the default is the beginning, kPartitions the end.
  struct PassPlace {
    uint32_t partition = 0;
    ObjectNumber object = 0;
    uint64_t index = 0;  // of the object's next page; may lie beyond all of them
  };

  // ---- compressing what is stored ----

  // What waits to be compressed; Publish fills it.
  const Backlog& backlog() const { return backlog_; }
  // Compresses, as kFast, the page that has waited longest; false if none waits.
  bool CompressNext(PageCodec& codec);
  // Looks at some persistent pages from `place` on, which moves; returns how many of them are
  // compressed. What is still raw, becomes so. What a pass before this one saw, and nobody got
  // since, becomes dense, if there is a dictionary: without one, a page saves too little for what
  // it costs to read back. REQUIRES: place.partition < kPartitions.
  uint64_t DensifySome(PassPlace& place, PageCodec& codec);
  // Trains a dictionary, which takes some 100 ms, if `pages`, as a pass counts them, are enough,
  // and many more than when the last one was trained. False if they are not. By one thread.
  bool TrainDictionary(uint64_t pages, PageCodec& codec);
  RecompressionCounters recompressed() const;

  // ---- integrity ----

  using OnCorrupt = std::function<void(uint32_t pool, const ObjectId& object, PageIndex index)>;
  // Checks at most `budget` persistent pages from `place` on against their checksums, and moves
  // `place`; returns how many. On the way past what is not persistent it checks fewer, but costs no
  // more. `on_corrupt` is called with a partition's lock held.
  uint64_t Scrub(PassPlace& place, PageCount budget, const OnCorrupt& on_corrupt);

  // ---- memory ----

  bool EvictOldestSegment() override;
  enum class Compacted : uint8_t {
    kNothing,  // there are not free slots enough for the pages of any segment
    kSome,     // pages were moved
    kSegment,  // and a segment was given back with its last one
  };
  // Moves at most kMovedAtOnce pages of a sparse persistent segment into free slots of others. Like
  // eviction, it may be called while pages are put and taken.
  static constexpr size_t kMovedAtOnce = 16;
  Compacted Compact();

  // What more memory would save, while the policy watches that. To be told of persistent puts
  // refused and ephemeral gets missed; evictions it knows of. `charge`: if it is known.
  void NoteRefused(const PageRef& ref, PageClass page_class, std::optional<Bytes> charge);
  void NoteMissed(const PageRef& ref);
  std::optional<double> TakeSaved() override;

  // Heap memory of partitions, trees and segment tables.
  size_t bytes() const;

 private:
  // A pool's part of one partition.
  struct PoolShard {
    PoolCounters counters;
    StoredCounters stored;  // but `pages`
    // Written under the partition lock; read by a get of another partition to answer "empty".
    std::atomic<uint64_t> pages{0};
  };
  struct alignas(64) Partition {
    Partition(const Identity& identity, ObjectRecords& records, uint32_t number)
        : objects(identity.hash_key, records, identity.id, number) {}
    mutable Mutex mutex{LockRank::kPartition};
    ObjectTable objects TMEM_GUARDED_BY(mutex);
    uint64_t last_sequence TMEM_GUARDED_BY(mutex) = 0;
    std::array<PoolShard, ObjectTable::kPools> pools;
  };
  // Where a page stands: found under its partition's lock, valid while that is held.
  struct Found {
    ObjectNumber number = kNoObject;
    Object* object = nullptr;
    Location* location = nullptr;
  };
  class Freed;
  class Group;

  Keyspace(Memory& memory, Memory::StakeId stake, NodeBlocks& blocks, ObjectRecords& records,
           const DictionaryFiles& dictionaries, const Identity& identity);

  void NoteStored(uint64_t hash, uint32_t index);
  // Of a whole handle, for ghosts. `hash`: as HashOf.
  static uint64_t PageHash(uint64_t hash, uint32_t index);
  uint64_t HashOf(const PageRef& ref) const {
    return ObjectTable::Hash(hash_key_, ref.pool, ref.object);
  }
  static uint32_t PartitionNumber(uint64_t hash) { return static_cast<uint32_t>(hash >> 60); }
  Partition& PartitionOf(uint64_t hash) { return *partitions_[PartitionNumber(hash)]; }
  FlushStatus FlushFound(Partition& partition, const PageRef& ref, PageClass page_class,
                         ObjectNumber number, Freed& freed) TMEM_REQUIRES(partition.mutex);
  static Found Find(Partition& partition, PageName name) TMEM_REQUIRES(partition.mutex);
  static Found Find(Partition& partition, uint64_t hash, const PageRef& ref)
      TMEM_REQUIRES(partition.mutex);

  // False if there is no memory for a new object.
  bool Enter(Partition& partition, uint64_t hash, const PageRef& ref, Found& found, Incoming& page)
      TMEM_REQUIRES(partition.mutex);
  // False if the record is not to be: it is older than the page's other one, or nonsense.
  bool RestorePage(const Arena::Survivor& segment, uint32_t slot,
                   std::span<const PageClass, ObjectTable::kPools> classes, Ledger& payer);
  static bool TakeOver(Object& object, Ledger& payer);
  void Forget(Partition& partition, PageClass page_class, ObjectNumber number,
              std::span<const Location> locations) TMEM_REQUIRES(partition.mutex);
  Location TakeOut(Partition& partition, PageClass page_class, const Found& found, uint32_t index)
      TMEM_REQUIRES(partition.mutex);
  static void Count(PoolShard& shard, Location location, int64_t sign);
  bool PoolIsEmpty(uint32_t pool) const;
  bool DrainObject(Partition& partition, PageClass page_class, ObjectNumber number, Freed& freed)
      TMEM_REQUIRES(partition.mutex);
  struct Repayment;
  bool RepaySome(Partition& partition, const Repayment& repayment, ObjectNumber& next, Freed& freed)
      TMEM_REQUIRES(partition.mutex);
  struct Looks;
  template <class Visit>
  void VisitSome(PassPlace& place, Looks looks, Visit visit);
  std::optional<PageClass> ClassOf(Location location) const;
  bool Verifies(Location location) const;
  // Calls `act(partition, found, index)` under the partition's lock, if the slot holds a page that
  // is in the index. Not analysed: that the lock which `act` requires is the one taken here is
  // beyond clang.
  template <class Act>
  void WithRecord(PageClass page_class, SegmentId segment, uint32_t slot,
                  Act act) TMEM_NO_THREAD_SAFETY_ANALYSIS;
  void Supersede(Partition& partition, PageClass page_class, const Found& found, Location now,
                 const Payload& payload, uint32_t checksum, Heap::Slot& slot)
      TMEM_REQUIRES(partition.mutex);
  bool Move(Partition& partition, PageClass page_class, const Found& found)
      TMEM_REQUIRES(partition.mutex);
  struct Original;
  std::optional<Original> CopyOut(PageName name, CompressMode mode);
  void Recompress(PageName name, CompressMode mode, PageCodec& codec);
  std::vector<std::byte> Samples(uint64_t pages, PageCodec& codec);

  Memory& memory_;
  const Memory::StakeId stake_;
  const std::shared_ptr<const std::atomic<bool>> shrinks_;
  const uint64_t hash_key_;
  NodeMemory nodes_;  // of all partitions
  std::array<Heap, kPageClasses> heaps_;
  std::array<Ghosts, kPageClasses> ghosts_;
  Backlog backlog_;
  Dictionaries dictionaries_;
  DictionaryId last_trained_ = kNoDictionary;  // whether or not that gave one
  // Relaxed: figures to look at.
  std::atomic<uint64_t> made_fast_{0};
  std::atomic<uint64_t> made_dense_{0};
  std::atomic<uint64_t> left_{0};
  std::array<std::unique_ptr<Partition>, kPartitions> partitions_;
};

}  // namespace tmem

#endif  // TMEM_POOLS_KEYSPACE_H_
