// Pages in memory as the store has it: anonymous, on huge pages where the kernel gives them.
#ifndef TMEM_BENCH_PAGE_BUFFER_H_
#define TMEM_BENCH_PAGE_BUFFER_H_

#include <cstddef>
#include <cstdint>

#include "base/units.h"

namespace tmem {

class PageBuffer {
 public:
  // Filled with random bytes, no page like another. Ends the program if there is no memory.
  explicit PageBuffer(uint32_t pages);
  ~PageBuffer();
  PageBuffer(const PageBuffer&) = delete;
  PageBuffer& operator=(const PageBuffer&) = delete;

  uint32_t size() const { return pages_; }
  // REQUIRES: index < size().
  MutablePageView page(uint32_t index) {
    return MutablePageView(base_ + size_t{index} * kPageSize, kPageSize);
  }

 private:
  const uint32_t pages_;
  std::byte* const base_;
};

// What the system could give now without swapping.
Bytes AvailableMemory();

}  // namespace tmem

#endif  // TMEM_BENCH_PAGE_BUFFER_H_
