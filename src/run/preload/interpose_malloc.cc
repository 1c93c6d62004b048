// The allocation functions of the C library, for the program: from the arena where the thread is
// the program's, from the C library where it is ours or there is no runtime.
#include <dlfcn.h>
#include <malloc.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/units.h"
#include "run/preload/heap.h"

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

void* Move(void* pointer, size_t old_size, size_t size) {
  void* const moved = ::malloc(size);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, pointer, old_size < size ? old_size : size);
  ::free(pointer);
  return moved;
}

}  // namespace

extern "C" {

void* malloc(size_t size) noexcept {
  return Heap::Serves() ? tj_malloc(size) : __libc_malloc(size);
}

void* calloc(size_t count, size_t size) noexcept {
  return Heap::Serves() ? tj_calloc(count, size) : __libc_calloc(count, size);
}

void free(void* pointer) noexcept {
  if (Heap::Owns(pointer)) {
    tj_free(pointer);
  } else {
    __libc_free(pointer);
  }
}

void* realloc(void* pointer, size_t size) noexcept {
  if (pointer == nullptr) return ::malloc(size);
  if (Heap::Owns(pointer)) return tj_realloc(pointer, size);
  if (!Heap::Serves() || size == 0) return __libc_realloc(pointer, size);
  return Move(pointer, SystemUsableSize(pointer), size);
}

void* reallocarray(void* pointer, size_t count, size_t size) noexcept {
  size_t bytes = 0;
  if (__builtin_mul_overflow(count, size, &bytes)) {
    errno = ENOMEM;
    return nullptr;
  }
  return ::realloc(pointer, bytes);
}

int posix_memalign(void** pointer, size_t alignment, size_t size) noexcept {
  if (Heap::Serves()) return tj_posix_memalign(pointer, alignment, size);
  if (alignment % sizeof(void*) != 0 || (alignment & (alignment - 1)) != 0 || alignment == 0) {
    return EINVAL;
  }
  const int before = errno;
  void* const memory = __libc_memalign(alignment, size);
  errno = before;
  if (memory == nullptr) return ENOMEM;
  *pointer = memory;
  return 0;
}

void* aligned_alloc(size_t alignment, size_t size) noexcept {
  return Heap::Serves() ? tj_aligned_alloc(alignment, size) : __libc_memalign(alignment, size);
}

void* memalign(size_t alignment, size_t size) noexcept {
  return Heap::Serves() ? tj_memalign(alignment, size) : __libc_memalign(alignment, size);
}

void* valloc(size_t size) noexcept { return ::memalign(kPageSize, size); }

void* pvalloc(size_t size) noexcept {
  return ::memalign(kPageSize, (size + kPageSize - 1) & ~(kPageSize - 1));
}

size_t malloc_usable_size(void* pointer) noexcept {
  if (pointer == nullptr) return 0;
  return Heap::Owns(pointer) ? tj_malloc_usable_size(pointer) : SystemUsableSize(pointer);
}

}  // extern "C"
