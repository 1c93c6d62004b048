// The objects of one partition: found by (pool, object id), or by number.
//
// An object exists while it holds pages. Its number names it in record headers, and is reused after
// it is gone, so whoever comes from a header must check that the object's tree still points back.
// Memory is given back when the last object goes. An ObjectRecord says, for the next process, which
// object each number names: it is written before the object's first page is, and goes after its
// last one.
//
// The hash grows one bucket at a time (linear hashing, W. Litwin 1980), so that no insertion ever
// pays for rehashing a large table; the hash is keyed, so that a guest cannot aim at one bucket.
//
// Not thread-safe: guarded by the partition's lock.
#ifndef TMEM_POOLS_OBJECT_TABLE_H_
#define TMEM_POOLS_OBJECT_TABLE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "base/units.h"
#include "pools/object_records.h"
#include "pools/page_tree.h"

namespace tmem {

class Ledger;

// An object's number within its partition.
using ObjectNumber = uint32_t;
inline constexpr ObjectNumber kNoObject = UINT32_MAX;

struct Object {
  ObjectId id;
  uint32_t pool = 0;         // id of the pool in its keyspace
  uint8_t unshrinkable = 0;  // how many of its raw pages in a row did not, up to a limit
  PageTree pages;

  // Who is charged for all its pages: the pool's guest or, in a shared pool, the last one to put.
  Ledger* payer = nullptr;
  Bytes charged;

 private:
  friend class ObjectTable;
  ObjectNumber hash_next_ = kNoObject;  // or next free number
  ObjectNumber pool_next_ = kNoObject;
  ObjectNumber pool_previous_ = kNoObject;
};

class ObjectTable {
 public:
  // Pools are numbered 0 to kPools - 1.
  static constexpr uint32_t kPools = 16;

  // `key` should be random. The table uses the low bits; the high ones are free for choosing the
  // table.
  static uint64_t Hash(uint64_t key, uint32_t pool, const ObjectId& id);

  // Takes blocks from `records` as partition `partition` of `owner`. Blocks that are in use when
  // the table goes stay so, for the next process.
  ObjectTable(uint64_t hash_key, ObjectRecords& records, KeyspaceId owner, uint32_t partition);

  // kNoObject if there is none. `hash` is Hash(hash_key, pool, id).
  ObjectNumber Find(uint64_t hash, uint32_t pool, const ObjectId& id) const;
  // kNoObject if there is no memory for it. REQUIRES: there is none.
  ObjectNumber Insert(uint64_t hash, uint32_t pool, const ObjectId& id);
  // REQUIRES: the object has no pages left.
  void Erase(ObjectNumber number);

  // nullptr if no object has that number.
  Object* At(ObjectNumber number);

  // Some object of the pool, or kNoObject.
  ObjectNumber FirstOf(uint32_t pool) const { return first_of_pool_[pool]; }
  // All numbers in use are below this one.
  ObjectNumber end() const { return static_cast<ObjectNumber>(objects_.size()); }

  // Fills an empty table from the blocks of a process before this one, in the order of their
  // ordinals. Objects of pools that are not in `pools` (a bit each) are dropped. The objects have
  // no pages yet: whoever finds none for one at last erases it.
  void Restore(std::span<ObjectBlock* const> blocks, uint32_t pools);
  // Forgets all objects and frees what this process keeps of them; the blocks stay in use.
  void Abandon(NodeMemory& memory);

  size_t size() const { return size_; }
  // Heap memory held.
  size_t bytes() const;

 private:
  uint64_t HashOf(const Object& object) const;
  size_t BucketOf(uint64_t hash) const;
  ObjectRecord& RecordOf(ObjectNumber number) const {
    return blocks_[number / ObjectBlock::kRecords]->records[number % ObjectBlock::kRecords];
  }
  // Numbers for one block more. False if there is no memory.
  bool TakeBlock();
  // Enters a number into the lists by which the object is found.
  void Link(ObjectNumber number, uint64_t hash);
  void SplitOneBucket();
  void Reset();

  const uint64_t hash_key_;
  ObjectRecords& records_;
  const KeyspaceId owner_;
  const uint32_t partition_;
  std::vector<ObjectBlock*> blocks_;  // by ordinal
  std::deque<Object> objects_;
  ObjectNumber first_free_ = kNoObject;
  size_t size_ = 0;
  std::array<ObjectNumber, kPools> first_of_pool_;

  // 2^level_ + split_ buckets; those below split_ are already divided by one bit more.
  std::deque<ObjectNumber> buckets_;
  uint32_t level_ = 0;
  size_t split_ = 0;
};

}  // namespace tmem

#endif  // TMEM_POOLS_OBJECT_TABLE_H_
