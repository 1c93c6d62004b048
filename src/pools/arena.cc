#include "pools/arena.h"

#include <fmt/format.h>
#include <sys/mman.h>

namespace tmem {

namespace {
// One segment more than may be taken: ReleaseWarm has one in its hands now and then, which is
// neither taken nor free.
size_t AddressSpace(uint32_t max_segments) { return (size_t{max_segments} + 1) * kSegmentSize; }
}  // namespace

Result<std::unique_ptr<Arena>> Arena::Create(uint32_t max_segments) {
  auto table = SegmentTable::Create(max_segments + 1);
  if (!table) return std::unexpected(std::move(table).error());
  const size_t bytes = AddressSpace(max_segments);
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

Arena::~Arena() { munmap(base_, AddressSpace(max_segments_)); }

SegmentId Arena::Take() {
  MutexLock lock(mutex_);
  if (taken_ == max_segments_) return kNoSegment;
  ++taken_;
  if (!warm_.empty()) return warm_.extract(warm_.begin()).value();
  if (!cold_.empty()) return cold_.extract(cold_.begin()).value();
  return untouched_++;
}

void Arena::GiveBack(SegmentId segment) {
  SegmentId surplus = kNoSegment;
  {
    MutexLock lock(mutex_);
    warm_.insert(segment);
    if (warm_.size() > kWarmSegments) {
      surplus = warm_.extract(--warm_.end()).value();  // the highest: use stays at the low end
    } else {
      --taken_;
    }
  }
  if (surplus == kNoSegment) return;
  ReleaseMemory(surplus);
  MutexLock lock(mutex_);
  cold_.insert(surplus);
  --taken_;
}

void Arena::ReleaseWarm() {
  {
    MutexLock lock(mutex_);
    if (std::exchange(releasing_warm_, true)) return;
  }
  while (ReleaseOneWarm()) {
  }
}

bool Arena::ReleaseOneWarm() {
  SegmentId segment;
  {
    MutexLock lock(mutex_);
    if (warm_.empty()) {
      releasing_warm_ = false;
      return false;
    }
    segment = warm_.extract(warm_.begin()).value();
  }
  ReleaseMemory(segment);
  MutexLock lock(mutex_);
  cold_.insert(segment);
  return true;
}

void Arena::ReleaseMemory(SegmentId segment) const {
  (void)madvise(BaseOf(segment), kSegmentSize, MADV_DONTNEED);
}

}  // namespace tmem
