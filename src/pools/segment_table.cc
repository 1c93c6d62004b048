#include "pools/segment_table.h"

#include <sys/mman.h>

namespace tmem {

Result<std::unique_ptr<SegmentTable>> SegmentTable::Create(uint32_t max_segments) {
  void* const place = mmap(nullptr, sizeof(SegmentInfo) * max_segments, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (place == MAP_FAILED) {
    return std::unexpected(SystemError("cannot reserve address space for the segment table"));
  }
  return std::unique_ptr<SegmentTable>(
      new SegmentTable(static_cast<SegmentInfo*>(place), max_segments));
}

SegmentTable::~SegmentTable() { munmap(infos_, sizeof(SegmentInfo) * max_segments_); }

void SegmentList::PushFront(SegmentId segment) {
  SegmentLink& link = Link(segment);
  link = {.next = first_, .previous = kNoSegment};
  (first_ == kNoSegment ? last_ : Link(first_).previous) = segment;
  first_ = segment;
}

void SegmentList::PushBack(SegmentId segment) {
  SegmentLink& link = Link(segment);
  link = {.next = kNoSegment, .previous = last_};
  (last_ == kNoSegment ? first_ : Link(last_).next) = segment;
  last_ = segment;
}

void SegmentList::Remove(SegmentId segment) {
  const SegmentLink link = Link(segment);
  (link.previous == kNoSegment ? first_ : Link(link.previous).next) = link.next;
  (link.next == kNoSegment ? last_ : Link(link.next).previous) = link.previous;
}

}  // namespace tmem
