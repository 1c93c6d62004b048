#include "run/range_allocator.h"

#include <algorithm>

namespace tmem::run {

std::optional<uint32_t> RangeAllocator::Allocate(uint32_t count, uint32_t alignment) {
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    const auto [first, size] = *it;
    const uint64_t aligned = (uint64_t{first} + alignment - 1) / alignment * alignment;
    if (aligned + count > uint64_t{first} + size) continue;
    const auto start = static_cast<uint32_t>(aligned);
    const uint32_t before = start - first;
    const uint32_t after = size - before - count;
    if (before > 0) {
      it->second = before;
    } else {
      free_.erase(it);
    }
    if (after > 0) free_[start + count] = after;
    return start;
  }
  return std::nullopt;
}

bool RangeAllocator::Extend(PageRun run, uint32_t count) {
  const auto it = free_.find(run.end());
  if (it == free_.end() || it->second < count) return false;
  const uint32_t rest = it->second - count;
  free_.erase(it);
  if (rest > 0) free_[run.end() + count] = rest;
  return true;
}

std::vector<PageRun> RangeAllocator::Free(PageRun run) {
  std::vector<PageRun> kept;
  uint32_t page = run.first;
  // The first retired range that reaches beyond the run's start.
  auto it = retired_.upper_bound(page);
  if (it != retired_.begin() && std::prev(it)->first + std::prev(it)->second > page) --it;
  for (; page < run.end() && it != retired_.end() && it->first < run.end(); ++it) {
    const PageRun retired{it->first, it->second};
    if (retired.first > page) Insert(free_, {page, retired.first - page});
    const uint32_t first = std::max(page, retired.first);
    page = std::min(run.end(), retired.end());
    kept.push_back({first, page - first});
  }
  if (page < run.end()) Insert(free_, {page, run.end() - page});
  return kept;
}

void RangeAllocator::Insert(Ranges& ranges, PageRun run) {
  auto next = ranges.upper_bound(run.first);
  if (next != ranges.begin()) {
    const auto previous = std::prev(next);
    const uint32_t previous_end = previous->first + previous->second;
    if (previous_end >= run.first) {
      run = {previous->first, std::max(previous_end, run.end()) - previous->first};
      ranges.erase(previous);
    }
  }
  while (next != ranges.end() && next->first <= run.end()) {
    run.count = std::max(run.end(), next->first + next->second) - run.first;
    next = ranges.erase(next);
  }
  ranges[run.first] = run.count;
}

}  // namespace tmem::run
