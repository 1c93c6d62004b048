// Pages that wait to be compressed, in the order in which they were put: so many and no more, so
// that what a guest's pages take beyond their compressed size is bounded. A page that has gone
// meanwhile keeps its place until its turn.
//
// Thread-safe.
#ifndef TMEM_POOLS_BACKLOG_H_
#define TMEM_POOLS_BACKLOG_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "base/mutex.h"
#include "pools/segment.h"

namespace tmem {

class Backlog {
 public:
  static constexpr uint32_t kMost = 16384;  // raw pages of 64 MiB

  // May be late.
  bool full() const { return size() == kMost; }
  uint32_t size() const { return size_.load(std::memory_order_relaxed); }

  // Nothing if it is full.
  void Add(PageName page);
  // The one that has waited longest.
  std::optional<PageName> Take();

  // Heap memory held, about.
  size_t bytes() const { return size() * sizeof(PageName); }

 private:
  Mutex mutex_{LockRank::kLeaf};
  std::deque<PageName> pages_ TMEM_GUARDED_BY(mutex_);
  std::atomic<uint32_t> size_{0};  // written with the lock held
};

}  // namespace tmem

#endif  // TMEM_POOLS_BACKLOG_H_
