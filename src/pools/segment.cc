#include "pools/segment.h"

#include <array>

namespace tmem {

namespace {

constexpr size_t kGranule = 16;

// Steps of 16 bytes up to 512, then of 1/32 (to the next 16), up to kMaxCompressed; then raw.
constexpr size_t NextSlotSize(size_t size) {
  const size_t step = (size / 32 + kGranule - 1) / kGranule * kGranule;
  const size_t next = size + (step > kGranule ? step : kGranule);
  return next < kMaxCompressed ? next : kMaxCompressed;
}

constexpr size_t CountSlotSizes() {
  size_t count = 2;  // kMaxCompressed and a raw page
  for (size_t size = kGranule; size < kMaxCompressed; size = NextSlotSize(size)) ++count;
  return count;
}

constexpr size_t kSizeClasses = CountSlotSizes();
static_assert(kSizeClasses <= UINT8_MAX);

struct SizeTables {
  std::array<uint16_t, kSizeClasses> slot_size{};
  std::array<uint16_t, kSizeClasses> slots{};
  std::array<SizeClass, kPageSize / kGranule + 1> class_of{};  // by payload granules, rounded up

  constexpr SizeTables() {
    size_t size = kGranule;
    for (size_t i = 0; i + 1 < kSizeClasses; ++i, size = NextSlotSize(size)) {
      slot_size[i] = static_cast<uint16_t>(size);
    }
    slot_size[kSizeClasses - 1] = kPageSize;
    SizeClass size_class = 0;
    for (size_t granules = 0; granules < class_of.size(); ++granules) {
      while (slot_size[size_class] < granules * kGranule) ++size_class;
      class_of[granules] = size_class;
    }
    for (size_t i = 0; i < kSizeClasses; ++i) {
      slots[i] = static_cast<uint16_t>(kSegmentSize / (slot_size[i] + sizeof(RecordHeader)));
    }
  }
};

constexpr SizeTables kTables;

}  // namespace

int SizeClassCount() { return static_cast<int>(kSizeClasses); }

size_t SlotSize(SizeClass size_class) { return kTables.slot_size[size_class]; }

uint32_t SlotsPerSegment(SizeClass size_class) { return kTables.slots[size_class]; }

SizeClass SizeClassFor(size_t payload_bytes) {
  return kTables.class_of[(payload_bytes + kGranule - 1) / kGranule];
}

}  // namespace tmem
