// A third candidate for the inside of segments: slots of one size, but in blocks of 92 KiB rather
// than in whole segments, so that a guest with few pages does not hold a segment for each size. For
// bench_engine, which compares it with the slots that the store has (docs/decisions/0001).
//
// A segment is 11 blocks of 23 pages, and three pages for the headers of raw pages, so that raw
// pages are aligned; all other blocks have their headers inside. A block is free, or has slots of
// one size: sizes are those that divide a block, at most 1/32 apart. Free blocks are taken at the
// low end, so that segments at the high end come free. Compaction empties the sparsest block of a
// size of which there is a block's worth of free slots.
#ifndef TMEM_BENCH_BLOCK_ENGINE_H_
#define TMEM_BENCH_BLOCK_ENGINE_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "engine.h"
#include "page_buffer.h"
#include "pools/segment.h"

namespace tmem {

class BlockEngine final : public Engine {
 public:
  explicit BlockEngine(uint32_t segments);

  bool Put(uint32_t number, std::span<const std::byte> payload) override;
  void Free(uint32_t number) override;
  uint32_t segments_in_use() const override { return segments_in_use_; }

 private:
  using BlockNumber = uint32_t;
  static constexpr BlockNumber kNone = UINT32_MAX;
  static constexpr uint32_t kBlocksASegment = 11;
  static constexpr uint32_t kBlockPages = 23;
  static constexpr uint32_t kBlockSize = kBlockPages * kPageSize;

  struct Size {
    uint32_t slot;   // bytes
    uint32_t slots;  // a block
    uint32_t free = 0;
    std::set<BlockNumber> partial;  // blocks with free slots
  };
  struct Block {
    uint32_t size = 0;  // index in sizes_
    uint32_t used = 0;  // 0: a free block
    bool victim = false;
    std::vector<uint32_t> free_slots;
    std::vector<uint32_t> numbers;  // by slot
  };
  struct Place {
    BlockNumber block = kNone;
    uint32_t slot = 0;
    uint32_t bytes = 0;
  };

  uint32_t SizeFor(size_t bytes) const;
  std::byte* At(const Place& place);
  // A slot of that size, out of a partial block or, if it may, of a free one.
  bool Allocate(uint32_t size, bool may_open, Place& place);
  void Fill(const Place& place, uint32_t number, const std::byte* from);
  void FreeSlot(const Place& place);
  void ChooseVictim();
  // Moves kMovedAPut records out of the victim at most. False if there is none.
  bool Compact();

  PageBuffer memory_;
  std::vector<Size> sizes_;  // rising
  std::vector<Block> blocks_;
  std::set<BlockNumber> free_blocks_;
  std::vector<uint32_t> blocks_used_;  // by segment
  uint32_t segments_in_use_ = 0;
  BlockNumber victim_ = kNone;
  std::vector<Place> places_;  // by number
};

}  // namespace tmem

#endif  // TMEM_BENCH_BLOCK_ENGINE_H_
