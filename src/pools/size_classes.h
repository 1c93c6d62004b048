// The sizes of slots.
//
// 82 sizes from 16 to 4,096 bytes, each at most 1/32 (to the next 16 bytes) above the one before,
// so that rounding costs less than 2% of a payload on average; nothing lies between kMaxCompressed
// and a raw page.
//
// Tables, made by the compiler: several of these functions are called for each page.
#ifndef TMEM_POOLS_SIZE_CLASSES_H_
#define TMEM_POOLS_SIZE_CLASSES_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/units.h"
#include "compress/page_codec.h"

namespace tmem {

inline constexpr size_t kSegmentSize = 1 << 20;
inline constexpr size_t kRecordHeaderSize = 24;

// Which slot size a segment has: an index into the table of slot sizes.
using SizeClass = uint8_t;

namespace size_classes {

inline constexpr size_t kGranule = 16;

// Steps of 16 bytes up to 512, then of 1/32 (to the next 16), up to kMaxCompressed; then raw.
constexpr size_t NextSlotSize(size_t size) {
  const size_t step = (size / 32 + kGranule - 1) / kGranule * kGranule;
  const size_t next = size + (step > kGranule ? step : kGranule);
  return next < kMaxCompressed ? next : kMaxCompressed;
}

constexpr size_t Count() {
  size_t count = 2;  // kMaxCompressed and a raw page
  for (size_t size = kGranule; size < kMaxCompressed; size = NextSlotSize(size)) ++count;
  return count;
}

inline constexpr size_t kCount = Count();
static_assert(kCount <= UINT8_MAX);

struct Tables {
  std::array<uint16_t, kCount> slot_size{};
  std::array<uint16_t, kCount> slots{};
  std::array<SizeClass, kPageSize / kGranule + 1> class_of{};  // by payload granules, rounded up

  constexpr Tables() {
    size_t size = kGranule;
    for (size_t i = 0; i + 1 < kCount; ++i, size = NextSlotSize(size)) {
      slot_size[i] = static_cast<uint16_t>(size);
    }
    slot_size[kCount - 1] = kPageSize;
    SizeClass size_class = 0;
    for (size_t granules = 0; granules < class_of.size(); ++granules) {
      while (slot_size[size_class] < granules * kGranule) ++size_class;
      class_of[granules] = size_class;
    }
    for (size_t i = 0; i < kCount; ++i) {
      slots[i] = static_cast<uint16_t>(kSegmentSize / (slot_size[i] + kRecordHeaderSize));
    }
  }
};

inline constexpr Tables kTables;

}  // namespace size_classes

constexpr int SizeClassCount() { return static_cast<int>(size_classes::kCount); }

constexpr size_t SlotSize(SizeClass size_class) {
  return size_classes::kTables.slot_size[size_class];
}

constexpr uint32_t SlotsPerSegment(SizeClass size_class) {
  return size_classes::kTables.slots[size_class];
}

// The smallest class that holds `payload_bytes`. REQUIRES: 1 <= payload_bytes <= kPageSize.
constexpr SizeClass SizeClassFor(size_t payload_bytes) {
  using namespace size_classes;
  return kTables.class_of[(payload_bytes + kGranule - 1) / kGranule];
}

}  // namespace tmem

#endif  // TMEM_POOLS_SIZE_CLASSES_H_
