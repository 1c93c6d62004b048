#include "run/preload/service_heap.h"

#include <sys/mman.h>

#include <cerrno>

#include "base/units.h"
#include "run/preload/real_calls.h"

namespace real = tmem::run::real;

// Read by jemalloc when it starts.
extern "C" const char* ti_malloc_conf;
const char* ti_malloc_conf = "narenas:1,retain:true,metadata_thp:disabled";

namespace tmem::run {

std::atomic<std::byte*> ServiceHeap::base_{nullptr};
std::atomic<size_t> ServiceHeap::used_{0};

std::byte* ServiceHeap::Region() {
  std::byte* base = base_.load(std::memory_order_acquire);
  if (base != nullptr) return base;
  void* const region = real::Mmap(nullptr, kRegionSize, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (region == MAP_FAILED) return nullptr;
  auto* const mapped = static_cast<std::byte*>(region);
  // Another thread of ours may have been first.
  if (base_.compare_exchange_strong(base, mapped, std::memory_order_acq_rel)) return mapped;
  real::Munmap(region, kRegionSize);
  return base;
}

void* ServiceHeap::Map(size_t size) {
  std::byte* const base = Region();
  const size_t offset = used_.fetch_add((size + kPageSize - 1) & ~(kPageSize - 1));
  if (base == nullptr || offset + size > kRegionSize) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  return base + offset;
}

}  // namespace tmem::run

// What jemalloc was renamed to call. It never unmaps but to trim what it got, and maps at an
// address only to try its luck.
extern "C" {

void* ti_mmap(void* address, size_t size, int, int, int, off_t) {
  if (address != nullptr) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  return tmem::run::ServiceHeap::Map(size);
}

int ti_munmap(void* address, size_t size) { return real::Madvise(address, size, MADV_DONTNEED); }

int ti_madvise(void* address, size_t size, int advice) {
  return real::Madvise(address, size, advice);
}

int ti_mprotect(void* address, size_t size, int protection) {
  return real::Mprotect(address, size, protection);
}

int ti_pthread_atfork(void (*)(), void (*)(), void (*)()) { return 0; }

}  // extern "C"
