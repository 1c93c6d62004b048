// The store's own slots (pools/heap.h), and compaction as Keyspace::Compact does it, but for the
// owner's own sake: when few segments are free. For bench_engine.
#ifndef TMEM_BENCH_SLOT_ENGINE_H_
#define TMEM_BENCH_SLOT_ENGINE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "engine.h"
#include "pools/heap.h"
#include "pools/memory.h"

namespace tmem {

class SlotEngine final : public Engine {
 public:
  explicit SlotEngine(uint32_t segments);
  ~SlotEngine() override;

  bool Put(uint32_t number, std::span<const std::byte> payload) override;
  void Free(uint32_t number) override;
  uint32_t segments_in_use() const override;

 private:
  // Moves kMovedAPut records at most out of a sparse segment. False if none can be moved.
  bool Compact();
  bool Move(SegmentId segment, uint32_t slot);
  Location Fill(Heap::Slot slot, uint32_t number, std::span<const std::byte> payload);

  const uint32_t segments_;
  const std::unique_ptr<Arena> arena_;
  Memory memory_;
  const Memory::StakeId stake_;
  Heap heap_;
  std::vector<Location> places_;  // by number
};

}  // namespace tmem

#endif  // TMEM_BENCH_SLOT_ENGINE_H_
