// Memory for the nodes of page trees: places of a few sizes, packed into slabs that lie on huge
// pages.
//
// A page is found through a node that is seldom in the cache. Were nodes spread over small pages,
// each operation would wait for an entry of the page table first, and then for the node
// (docs/decisions/0004-nodes-on-huge-pages.md).
//
//   NodeBlocks  of a store: blocks of 2 MiB, given out in slabs of 16 KiB
//   NodeMemory  of a keyspace: slabs, each divided into places of one size
//
// Both are thread-safe. An empty slab goes back to its block at once. An empty block goes back to
// the system unless it is the only one with free slabs: to make and clear one takes long, and a
// guest that puts and flushes one page again and again must not have others wait for it.
#ifndef TMEM_POOLS_NODE_MEMORY_H_
#define TMEM_POOLS_NODE_MEMORY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <set>

#include "base/mutex.h"

namespace tmem {

inline constexpr size_t kNodeSlabSize = 16 << 10;

// A slab's descriptor. What it says of places is its NodeMemory's.
struct NodeSlab {
  NodeSlab* next = nullptr;  // of those with free places of the same size
  NodeSlab* previous = nullptr;
  void* freed = nullptr;  // places that were used before, linked through their first word
  uint16_t used = 0;
  uint16_t untouched = 0;  // places from here on were never used
};

class NodeBlocks {
 public:
  NodeBlocks() = default;
  // REQUIRES: every slab was given back.
  ~NodeBlocks();
  NodeBlocks(const NodeBlocks&) = delete;
  NodeBlocks& operator=(const NodeBlocks&) = delete;

  // A new descriptor. Throws std::bad_alloc.
  NodeSlab* Take();
  void GiveBack(NodeSlab* slab);

  static std::byte* MemoryOf(NodeSlab* slab);
  // The slab that `place` lies in.
  static NodeSlab* SlabOf(void* place);

 private:
  struct Block;

  Mutex mutex_{LockRank::kLeaf};
  // By address: the lowest is filled first, so that the others may become empty.
  std::set<Block*> with_free_slabs_ TMEM_GUARDED_BY(mutex_);
};

class NodeMemory {
 public:
  static constexpr size_t kUnit = 8;
  static constexpr size_t kLargest = 640;

  explicit NodeMemory(NodeBlocks& blocks) : blocks_(blocks) {}
  // REQUIRES: every place was freed.
  ~NodeMemory();
  NodeMemory(const NodeMemory&) = delete;
  NodeMemory& operator=(const NodeMemory&) = delete;

  // Throws std::bad_alloc. REQUIRES: `bytes` is a multiple of kUnit, from kUnit to kLargest.
  void* Allocate(size_t bytes);
  // REQUIRES: Allocate(bytes) returned it here.
  void Free(void* place, size_t bytes);

  // Whole slabs.
  size_t bytes() const;

 private:
  void List(NodeSlab* slab, size_t units) TMEM_REQUIRES(mutex_);
  void Unlist(NodeSlab* slab, size_t units) TMEM_REQUIRES(mutex_);

  NodeBlocks& blocks_;
  mutable Mutex mutex_{LockRank::kNodes};
  size_t slabs_ TMEM_GUARDED_BY(mutex_) = 0;
  // Slabs with free places, by the places' size in units.
  std::array<NodeSlab*, kLargest / kUnit + 1> partial_ TMEM_GUARDED_BY(mutex_){};
};

}  // namespace tmem

#endif  // TMEM_POOLS_NODE_MEMORY_H_
