// The heap of our own threads: a second jemalloc, apart from the program's and the C library's.
//
// It knows nothing of fork(), on purpose: a fork waits for the fault loop, so the fault loop must
// not wait for a fork. In a forked child it is not used.
//
// Its memory is a region of its own, so that an address tells what belongs to it.
#ifndef TMEM_RUN_PRELOAD_SERVICE_HEAP_H_
#define TMEM_RUN_PRELOAD_SERVICE_HEAP_H_

#include <atomic>
#include <cstddef>

namespace tmem::run {

class ServiceHeap {
 public:
  static bool Owns(const void* pointer) {
    const std::byte* const base = base_.load(std::memory_order_acquire);
    return base != nullptr &&
           static_cast<size_t>(static_cast<const std::byte*>(pointer) - base) < kRegionSize;
  }

  // Memory for jemalloc, from the region; never given back to it.
  static void* Map(size_t size);

 private:
  static constexpr size_t kRegionSize = size_t{16} << 30;

  static std::byte* Region();

  static std::atomic<std::byte*> base_;
  static std::atomic<size_t> used_;
};

}  // namespace tmem::run

// jemalloc's calls, renamed when it was linked in.
extern "C" {
void* ti_malloc(size_t size) noexcept;
void* ti_calloc(size_t count, size_t size) noexcept;
void* ti_realloc(void* pointer, size_t size) noexcept;
void ti_free(void* pointer) noexcept;
void* ti_memalign(size_t alignment, size_t size) noexcept;
size_t ti_malloc_usable_size(const void* pointer) noexcept;
}

#endif  // TMEM_RUN_PRELOAD_SERVICE_HEAP_H_
