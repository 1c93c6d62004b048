#include "pools/records.h"

namespace tmem {

std::optional<SegmentOwner> SegmentRecord::OwnerOf(uint64_t word) {
  const SegmentOwner owner{.keyspace = static_cast<KeyspaceId>(word >> 32),
                           .page_class = static_cast<PageClass>(word & 0xff),
                           .size_class = static_cast<SizeClass>(word >> 8 & 0xff)};
  if (owner.keyspace == kNobody || (word & 0xff) >= kPageClasses ||
      owner.size_class >= SizeClassCount()) {
    return std::nullopt;
  }
  return owner;
}

}  // namespace tmem
