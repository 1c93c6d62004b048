// Hands out runs of a queue's data slots, in a circle: a run is taken at the head, and runs come
// back at the tail in the order in which they were taken, because responses come in the order of
// requests. So nothing fragments, and both ends are a few instructions.
//
// A run does not wrap: if the end of the circle is too short for it, the rest is skipped and comes
// back together with the run.
//
// Not thread-safe: guarded by the queue's lock.
#ifndef TMEM_CLIENT_SLOT_RING_H_
#define TMEM_CLIENT_SLOT_RING_H_

#include <cstdint>

namespace tmem::client {

class SlotRing {
 public:
  struct Run {
    uint32_t first = 0;  // the run is first, first + 1, ...
    uint32_t taken = 0;  // slots it costs, skipped ones included: what Release wants back
  };

  explicit SlotRing(uint32_t slots) : slots_(slots) {}

  // Is there room for a run now? With nothing taken there is, for every count up to slots().
  // REQUIRES: 1 <= count <= slots().
  bool Fits(uint32_t count) const { return used_ + Skipped(count) + count <= slots_; }

  // REQUIRES: Fits(count).
  Run Take(uint32_t count) {
    const uint32_t skipped = Skipped(count);
    const uint32_t first = used_ == 0 || skipped != 0 ? 0 : head_;
    head_ = (first + count) % slots_;
    used_ += skipped + count;
    return Run{first, skipped + count};
  }

  // Gives the oldest run back. REQUIRES: `taken` is what Take said of it.
  void Release(uint32_t taken) { used_ -= taken; }

  uint32_t slots() const { return slots_; }
  uint32_t used() const { return used_; }

 private:
  // Slots between the head and the end that the run does not fit into. None when nothing is taken:
  // then the circle begins anew.
  uint32_t Skipped(uint32_t count) const {
    return used_ != 0 && head_ + count > slots_ ? slots_ - head_ : 0;
  }

  const uint32_t slots_;
  uint32_t head_ = 0;  // where the next run begins
  uint32_t used_ = 0;  // taken and skipped slots, which end at the head
};

}  // namespace tmem::client

#endif  // TMEM_CLIENT_SLOT_RING_H_
