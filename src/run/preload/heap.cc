#include "run/preload/heap.h"

#include <array>
#include <atomic>
#include <string>
#include <thread>

#define JEMALLOC_NO_DEMANGLE  // the names it declares are not those it is linked under
#include <jemalloc/jemalloc.h>

// Read by jemalloc when it starts. Freed pages are given up within a second: pages that nobody
// needs should not be evicted, let alone stored.
extern "C" const char* tj_malloc_conf;
const char* tj_malloc_conf =
    "narenas:1,oversize_threshold:0,dirty_decay_ms:1000,muzzy_decay_ms:0,metadata_thp:disabled";

namespace tmem::run {

namespace {

// jemalloc's arenas, over which the program's threads are spread.
constexpr unsigned kMaxHeaps = 4;
std::array<unsigned, kMaxHeaps> heap_arenas{};
unsigned heap_count = 0;  // constant after Start()
std::atomic<unsigned> next_heap{0};

void* AllocateExtent(extent_hooks_t*, void* wanted, size_t size, size_t alignment, bool* zero,
                     bool* commit, unsigned) {
  Runtime& runtime = *Runtime::Get();
  void* memory = nullptr;
  if (wanted == nullptr) {
    memory = runtime.Map(size, alignment);
  } else if (runtime.Contains(wanted) && runtime.Extend(static_cast<std::byte*>(wanted) - kPageSize,
                                                        kPageSize, kPageSize + size)) {
    memory = wanted;
  }
  if (memory == nullptr) return nullptr;
  *zero = true;
  *commit = true;
  return memory;
}

// The hooks below return true for "not done".
bool DeallocateExtent(extent_hooks_t*, void* address, size_t size, bool, unsigned) {
  Runtime& runtime = *Runtime::Get();
  if (!runtime.serves_itself()) return true;
  runtime.Unmap(address, size);
  return false;
}

bool PurgeExtent(extent_hooks_t*, void* address, size_t, size_t offset, size_t length, unsigned) {
  Runtime& runtime = *Runtime::Get();
  if (!runtime.serves_itself()) return true;
  runtime.Discard(static_cast<std::byte*>(address) + offset, length);
  return false;
}

bool SplitExtent(extent_hooks_t*, void*, size_t, size_t, size_t, bool, unsigned) { return false; }

bool MergeExtents(extent_hooks_t*, void*, size_t, void*, size_t, bool, unsigned) { return false; }

extent_hooks_t hooks = {
    .alloc = AllocateExtent,
    .dalloc = DeallocateExtent,
    .destroy = nullptr,
    .commit = nullptr,
    .decommit = nullptr,
    .purge_lazy = nullptr,
    .purge_forced = PurgeExtent,
    .split = SplitExtent,
    .merge = MergeExtents,
};

// As jemalloc's "experimental.arenas_create_ext" takes it (internal/arena_types.h, 5.3).
struct ArenaConfig {
  extent_hooks_t* hooks;
  bool metadata_use_hooks;
};

}  // namespace

Result<void> Heap::Start() {
  const InternalScope scope;
  ArenaConfig config{&hooks, false};
  const unsigned wanted = std::min(kMaxHeaps, std::max(1u, std::thread::hardware_concurrency()));
  for (; heap_count < wanted; ++heap_count) {
    size_t size = sizeof(unsigned);
    const int error = tj_mallctl("experimental.arenas_create_ext", &heap_arenas[heap_count], &size,
                                 &config, sizeof config);
    if (error != 0) return std::unexpected(SystemError("the heap cannot start", error));
  }
  return {};
}

bool Heap::BindThread() {
  if (Runtime::Get() == nullptr || heap_count == 0) return false;
  const unsigned turn = next_heap.fetch_add(1, std::memory_order_relaxed);
  unsigned arena = heap_arenas[turn % heap_count];
  {
    // jemalloc sets up the thread; what the C library allocates for that is not the program's.
    const InternalScope scope;
    if (tj_mallctl("thread.arena", nullptr, nullptr, &arena, sizeof arena) != 0) return false;
  }
  thread_role = ThreadRole::kProgram;
  return true;
}

}  // namespace tmem::run
