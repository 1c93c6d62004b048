// The allocation functions of the C library, each on the heap that the thread, or the pointer,
// belongs to (see thread_role.h); on the C library's own where there is no runtime.
#include <dlfcn.h>
#include <malloc.h>

#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/units.h"
#include "run/preload/heap.h"
#include "run/preload/service_heap.h"
#include "run/preload/thread_role.h"

// The C library's own, under the names it exports for those who interpose.
extern "C" {
void* __libc_malloc(size_t size) noexcept;
void* __libc_calloc(size_t count, size_t size) noexcept;
void* __libc_realloc(void* pointer, size_t size) noexcept;
void __libc_free(void* pointer) noexcept;
void* __libc_memalign(size_t alignment, size_t size) noexcept;
}

using tmem::kPageSize;
using tmem::run::Heap;
using tmem::run::InternalScope;
using tmem::run::ServiceHeap;
using tmem::run::thread_role;
using tmem::run::ThreadRole;

namespace {

// A chunk of the C library's; its own malloc_usable_size() is the one after ours.
size_t SystemUsableSize(void* pointer) {
  using Function = size_t (*)(void*);
  static std::atomic<Function> next{nullptr};
  Function function = next.load(std::memory_order_relaxed);
  if (function == nullptr) {
    const InternalScope scope;
    function = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "malloc_usable_size"));
    next.store(function, std::memory_order_relaxed);
  }
  return function(pointer);
}

bool InService() { return thread_role == ThreadRole::kService; }

// Allocates from the heap that is the thread's.
void* Allocate(size_t size) {
  if (Heap::Serves()) return tj_malloc(size);
  return InService() ? ti_malloc(size) : __libc_malloc(size);
}

void* AllocateZeroed(size_t count, size_t size) {
  if (Heap::Serves()) return tj_calloc(count, size);
  return InService() ? ti_calloc(count, size) : __libc_calloc(count, size);
}

// REQUIRES: the alignment is a power of two.
void* AllocateAligned(size_t alignment, size_t size) {
  if (Heap::Serves()) return tj_memalign(alignment, size);
  return InService() ? ti_memalign(alignment, size) : __libc_memalign(alignment, size);
}

// Frees to the heap that the pointer is from.
void Free(void* pointer) {
  if (Heap::Owns(pointer)) return tj_free(pointer);
  if (ServiceHeap::Owns(pointer)) return ti_free(pointer);
  __libc_free(pointer);
}

size_t UsableSize(void* pointer) {
  if (Heap::Owns(pointer)) return tj_malloc_usable_size(pointer);
  if (ServiceHeap::Owns(pointer)) return ti_malloc_usable_size(pointer);
  return SystemUsableSize(pointer);
}

// A piece of the C library's moves into the arena when the program grows it.
void* Reallocate(void* pointer, size_t size) {
  if (pointer == nullptr) return Allocate(size);
  if (Heap::Owns(pointer)) return tj_realloc(pointer, size);
  if (ServiceHeap::Owns(pointer)) return ti_realloc(pointer, size);
  if (!Heap::Serves() || size == 0) return __libc_realloc(pointer, size);
  const size_t old_size = SystemUsableSize(pointer);
  void* const moved = tj_malloc(size);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, pointer, old_size < size ? old_size : size);
  __libc_free(pointer);
  return moved;
}

}  // namespace

extern "C" {

void* malloc(size_t size) noexcept { return Allocate(size); }

void* calloc(size_t count, size_t size) noexcept { return AllocateZeroed(count, size); }

void free(void* pointer) noexcept { Free(pointer); }

void* realloc(void* pointer, size_t size) noexcept { return Reallocate(pointer, size); }

void* reallocarray(void* pointer, size_t count, size_t size) noexcept {
  size_t bytes = 0;
  if (__builtin_mul_overflow(count, size, &bytes)) {
    errno = ENOMEM;
    return nullptr;
  }
  return Reallocate(pointer, bytes);
}

int posix_memalign(void** pointer, size_t alignment, size_t size) noexcept {
  if (alignment % sizeof(void*) != 0 || !std::has_single_bit(alignment)) return EINVAL;
  const int before = errno;
  void* const memory = AllocateAligned(alignment, size);
  errno = before;
  if (memory == nullptr) return ENOMEM;
  *pointer = memory;
  return 0;
}

void* memalign(size_t alignment, size_t size) noexcept {
  return AllocateAligned(std::bit_ceil(alignment), size);
}

void* aligned_alloc(size_t alignment, size_t size) noexcept { return ::memalign(alignment, size); }

void* valloc(size_t size) noexcept { return AllocateAligned(kPageSize, size); }

void* pvalloc(size_t size) noexcept {
  return AllocateAligned(kPageSize, (size + kPageSize - 1) & ~(kPageSize - 1));
}

size_t malloc_usable_size(void* pointer) noexcept {
  return pointer == nullptr ? 0 : UsableSize(pointer);
}

}  // extern "C"
