// The program's heap: jemalloc, linked into this library under names of its own, with the arena
// as its source of memory.
//
// What the C library allocated before the runtime started, and what our own threads allocate, is
// the C library's; where a pointer lies tells whose it is. jemalloc's own bookkeeping is plain
// memory outside of the arena.
//
// Threads: any. After fork() the heap works on in the child.
#ifndef TMEM_RUN_PRELOAD_HEAP_H_
#define TMEM_RUN_PRELOAD_HEAP_H_

#include <cstddef>

#include "base/result.h"
#include "run/preload/runtime.h"
#include "run/preload/thread_role.h"

namespace tmem::run {

class Heap {
 public:
  // REQUIRES: the runtime has started; once.
  static Result<void> Start();

  // The calling thread allocates from the arena (and is set up for it).
  static bool Serves() {
    return thread_role == ThreadRole::kProgram || (thread_role == ThreadRole::kNew && BindThread());
  }

  // `pointer` came from the arena.
  static bool Owns(const void* pointer) {
    const Runtime* const runtime = Runtime::Get();
    return runtime != nullptr && runtime->Contains(pointer);
  }

 private:
  static bool BindThread();
};

}  // namespace tmem::run

// jemalloc's calls, renamed when it was linked in.
extern "C" {
void* tj_malloc(size_t size) noexcept;
void* tj_calloc(size_t count, size_t size) noexcept;
void* tj_realloc(void* pointer, size_t size) noexcept;
void tj_free(void* pointer) noexcept;
void* tj_memalign(size_t alignment, size_t size) noexcept;
size_t tj_malloc_usable_size(const void* pointer) noexcept;
int tj_mallctl(const char* name, void* old_value, size_t* old_size, void* new_value,
               size_t new_size) noexcept;
}

#endif  // TMEM_RUN_PRELOAD_HEAP_H_
