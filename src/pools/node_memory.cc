#include "pools/node_memory.h"

#include <sanitizer/asan_interface.h>  // marks free places for it; nothing in other builds
#include <sys/mman.h>

#include <bit>
#include <cassert>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

namespace tmem {

namespace {

constexpr size_t kBlockSize = 2 << 20;  // a huge page
constexpr size_t kSlabsInBlock = kBlockSize / kNodeSlabSize;

std::byte* BlockBase(const void* inside) {
  auto* const byte = static_cast<std::byte*>(const_cast<void*>(inside));
  return byte - reinterpret_cast<uintptr_t>(inside) % kBlockSize;
}

}  // namespace

// The head of a block, in place of its first slab.
struct NodeBlocks::Block {
  static constexpr size_t kWords = kSlabsInBlock / 64;
  static constexpr uint64_t kAllButHead = ~uint64_t{1};

  std::array<uint64_t, kWords> free{kAllButHead, UINT64_MAX};  // bit s: slab s is free
  std::array<NodeSlab, kSlabsInBlock> slabs;

  bool full() const { return (free[0] | free[1]) == 0; }
  bool empty() const { return free[0] == kAllButHead && free[1] == UINT64_MAX; }
  NodeSlab* Take() {
    const size_t word = free[0] != 0 ? 0 : 1;
    const auto bit = static_cast<size_t>(std::countr_zero(free[word]));
    free[word] &= free[word] - 1;
    return std::construct_at(&slabs[word * 64 + bit]);
  }
  void GiveBack(size_t slab) { free[slab / 64] |= uint64_t{1} << slab % 64; }

  static Block* Of(const void* inside) { return reinterpret_cast<Block*>(BlockBase(inside)); }
};

NodeBlocks::~NodeBlocks() {
  for (Block* const block : with_free_slabs_) {
    assert(block->empty());
    std::free(block);
  }
}

NodeSlab* NodeBlocks::Take() {
  static_assert(Block::kWords == 2 && sizeof(Block) <= kNodeSlabSize);
  MutexLock lock(mutex_);
  if (with_free_slabs_.empty()) {
    void* const memory = std::aligned_alloc(kBlockSize, kBlockSize);
    if (memory == nullptr) throw std::bad_alloc();
    (void)madvise(memory, kBlockSize, MADV_HUGEPAGE);  // without, it is merely slower
    with_free_slabs_.insert(new (memory) Block);
  }
  Block* const block = *with_free_slabs_.begin();
  NodeSlab* const slab = block->Take();
  if (block->full()) with_free_slabs_.erase(block);
  return slab;
}

void NodeBlocks::GiveBack(NodeSlab* slab) {
  MutexLock lock(mutex_);
  Block* const block = Block::Of(slab);
  block->GiveBack(static_cast<size_t>(slab - block->slabs.data()));
  with_free_slabs_.insert(block);
  if (!block->empty() || with_free_slabs_.size() == 1) return;
  with_free_slabs_.erase(block);
  std::free(block);
}

std::byte* NodeBlocks::MemoryOf(NodeSlab* slab) {
  return BlockBase(slab) + (slab - Block::Of(slab)->slabs.data()) * kNodeSlabSize;
}

NodeSlab* NodeBlocks::SlabOf(void* place) {
  const auto offset = static_cast<size_t>(static_cast<std::byte*>(place) - BlockBase(place));
  return &Block::Of(place)->slabs[offset / kNodeSlabSize];
}

NodeMemory::~NodeMemory() { assert(slabs_ == 0); }

void* NodeMemory::Allocate(size_t bytes) {
  const size_t units = bytes / kUnit;
  MutexLock lock(mutex_);
  NodeSlab* slab = partial_[units];
  if (slab == nullptr) {
    slab = blocks_.Take();
    ++slabs_;
    List(slab, units);
  }
  void* place = slab->freed;
  if (place != nullptr) {
    ASAN_UNPOISON_MEMORY_REGION(place, bytes);
    slab->freed = *static_cast<void**>(place);
  } else {
    place = NodeBlocks::MemoryOf(slab) + slab->untouched++ * bytes;
  }
  if (++slab->used == kNodeSlabSize / bytes) Unlist(slab, units);
  return place;
}

void NodeMemory::Free(void* place, size_t bytes) {
  const size_t units = bytes / kUnit;
  NodeSlab* const slab = NodeBlocks::SlabOf(place);
  MutexLock lock(mutex_);
  *static_cast<void**>(place) = std::exchange(slab->freed, place);
  ASAN_POISON_MEMORY_REGION(place, bytes);
  if (slab->used == kNodeSlabSize / bytes) List(slab, units);
  if (--slab->used > 0) return;
  Unlist(slab, units);
  --slabs_;
  ASAN_UNPOISON_MEMORY_REGION(NodeBlocks::MemoryOf(slab), kNodeSlabSize);
  blocks_.GiveBack(slab);
}

void NodeMemory::List(NodeSlab* slab, size_t units) {
  slab->previous = nullptr;
  slab->next = std::exchange(partial_[units], slab);
  if (slab->next != nullptr) slab->next->previous = slab;
}

void NodeMemory::Unlist(NodeSlab* slab, size_t units) {
  (slab->previous != nullptr ? slab->previous->next : partial_[units]) = slab->next;
  if (slab->next != nullptr) slab->next->previous = slab->previous;
}

size_t NodeMemory::bytes() const {
  MutexLock lock(mutex_);
  return slabs_ * kNodeSlabSize;
}

}  // namespace tmem
