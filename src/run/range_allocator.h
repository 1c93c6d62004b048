// Address space of the arena, handed out in runs of pages: lowest address first, so that what is
// in use stays together.
//
// Not thread-safe; the caller's lock protects it.
#ifndef TMEM_RUN_RANGE_ALLOCATOR_H_
#define TMEM_RUN_RANGE_ALLOCATOR_H_

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "run/page_table.h"

namespace tmem::run {

class RangeAllocator {
 public:
  // All of `arena` is free at first.
  explicit RangeAllocator(PageRun arena) { free_[arena.first] = arena.count; }

  // `count` pages, the first a multiple of `alignment` (a power of two) from page 0.
  std::optional<uint32_t> Allocate(uint32_t count, uint32_t alignment = 1);

  // Takes the run right after `run`, if all of it is free: `run` has grown by `count`.
  bool Extend(PageRun run, uint32_t count);

  // REQUIRES: the run, or each part of it, was handed out and not freed since. Pages that were
  // retired stay out of use; returns them.
  std::vector<PageRun> Free(PageRun run);

  // The pages are not arena memory any more (the program mapped something over them): they will
  // not be handed out again.
  void Retire(PageRun run) { Insert(retired_, run); }

 private:
  using Ranges = std::map<uint32_t, uint32_t>;  // first -> count, neighbours merged

  static void Insert(Ranges& ranges, PageRun run);

  Ranges free_;
  Ranges retired_;
};

}  // namespace tmem::run

#endif  // TMEM_RUN_RANGE_ALLOCATOR_H_
