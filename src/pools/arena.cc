#include "pools/arena.h"

#include <fmt/format.h>
#include <sys/mman.h>

namespace tmem {

Result<std::unique_ptr<Arena>> Arena::Create(uint32_t max_segments) {
  auto table = SegmentTable::Create(max_segments);
  if (!table) return std::unexpected(std::move(table).error());
  const size_t bytes = size_t{max_segments} * kSegmentSize;
  void* const base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    return std::unexpected(SystemError(
        fmt::format("cannot reserve {} of address space for the store", HumanBytes(Bytes(bytes)))));
  }
  // Huge pages halve the cost of random page copies; a kernel without them is merely slower.
  (void)madvise(base, bytes, MADV_HUGEPAGE);
  // Pages of guests do not belong in a core dump of the daemon.
  (void)madvise(base, bytes, MADV_DONTDUMP);
  return std::unique_ptr<Arena>(
      new Arena(static_cast<std::byte*>(base), max_segments, std::move(*table)));
}

Arena::~Arena() { munmap(base_, size_t{max_segments_} * kSegmentSize); }

SegmentId Arena::Take() {
  MutexLock lock(mutex_);
  if (!warm_.empty()) return warm_.extract(warm_.begin()).value();
  if (!cold_.empty()) return cold_.extract(cold_.begin()).value();
  return untouched_ < max_segments_ ? untouched_++ : kNoSegment;
}

void Arena::GiveBack(SegmentId segment) {
  SegmentId surplus = segment;
  {
    MutexLock lock(mutex_);
    warm_.insert(segment);
    if (warm_.size() <= kWarmSegments) return;
    surplus = warm_.extract(--warm_.end()).value();  // the highest: use stays at the low end
  }
  ReleaseMemory(surplus);
}

void Arena::ReleaseWarm() {
  for (;;) {
    SegmentId segment;
    {
      MutexLock lock(mutex_);
      if (warm_.empty()) return;
      segment = warm_.extract(warm_.begin()).value();
    }
    ReleaseMemory(segment);
  }
}

void Arena::ReleaseMemory(SegmentId segment) {
  (void)madvise(BaseOf(segment), kSegmentSize, MADV_DONTNEED);
  MutexLock lock(mutex_);
  cold_.insert(segment);
}

}  // namespace tmem
