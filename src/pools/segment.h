// The inside of a segment: slots of one size, and a record header for each.
//
//   +--------+--------+-- ... --+--------+---------+----------+-- ... --+----------+
//   | slot 0 | slot 1 |         | slot n |  slack  | header n |         | header 0 |
//   +--------+--------+-- ... --+--------+---------+----------+-- ... --+----------+
//   0                                                                    kSegmentSize
//
// Payloads come first, so that raw pages are page-aligned; headers grow down from the end, so that
// whoever walks a segment (eviction, recovery) reads them alone and in a row. The state word of a
// header is the one commit point of a record: everything else is written before it turns live.
//
// This header is pure layout: addresses and sizes. Who may touch a slot is Heap's business.
#ifndef TMEM_POOLS_SEGMENT_H_
#define TMEM_POOLS_SEGMENT_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/units.h"
#include "compress/page_codec.h"
#include "pools/size_classes.h"

namespace tmem {

using SegmentId = uint32_t;
inline constexpr SegmentId kNoSegment = UINT32_MAX;

struct RecordHeader {
  static constexpr uint64_t kLive = 1;

  // sequence << 8 | kLive while the record counts; 0 while the slot is free. Sequences rise with
  // every put of one partition: of two live records of one handle the higher is the true one.
  std::atomic<uint64_t> state;
  uint32_t object;    // number in its keyspace
  uint32_t index;     // page index in the object
  uint32_t checksum;  // as Checksum (checksum.h); persistent records only
  uint16_t length;    // of the payload, bytes
  Codec codec;
  DictionaryId dictionary;  // of the owner's; kNoDictionary unless the codec needs one
};
static_assert(sizeof(RecordHeader) == kRecordHeaderSize);
static_assert(std::atomic<uint64_t>::is_always_lock_free);

// A page as its record's header names it: as long as its object lives, after which the number may
// be another's.
struct PageName {
  uint32_t object;
  uint32_t index;
};

// What storing a payload is charged: its bytes to the next 16, and its header.
constexpr Bytes RecordCharge(size_t payload_bytes) {
  return Bytes((payload_bytes + 15) / 16 * 16 + sizeof(RecordHeader));
}

// Where a page lies and how to decode it: what the index keeps a page, in one word. The default
// is the empty location.
class Location {
 public:
  constexpr Location() = default;
  constexpr Location(SegmentId segment, uint32_t slot, Codec codec, size_t length)
      : bits_(uint64_t{segment} << kSegmentShift | uint64_t{slot} << kSlotShift |
              uint64_t{length} << kLengthShift | uint64_t{static_cast<uint8_t>(codec)}) {}

  constexpr explicit operator bool() const { return bits_ != 0; }
  constexpr SegmentId segment() const {
    return static_cast<SegmentId>(bits_ >> kSegmentShift & kSegmentMask);
  }
  constexpr uint32_t slot() const { return static_cast<uint32_t>(bits_ >> kSlotShift) & kSlotMask; }
  constexpr size_t length() const { return bits_ >> kLengthShift & kLengthMask; }
  constexpr Codec codec() const { return static_cast<Codec>(bits_ & kCodecMask); }
  constexpr Bytes charge() const { return RecordCharge(length()); }

  // Marks tell what happened to the page since it was put.
  // Of an ephemeral page: a get left it in place; a second chance against eviction.
  constexpr bool referenced() const { return (bits_ & kReferenced) != 0; }
  constexpr Location WithReferenced() const { return Location(bits_ | kReferenced); }
  // To compress it further was not worth it.
  constexpr bool settled() const { return (bits_ & kSettled) != 0; }
  constexpr Location WithSettled() const { return Location(bits_ | kSettled); }
  // A pass over all pages has seen it, and nobody got it since.
  constexpr bool stayed() const { return (bits_ & kStayed) != 0; }
  constexpr Location WithStayed() const { return Location(bits_ | kStayed); }
  constexpr Location WithoutStayed() const { return Location(bits_ & ~kStayed); }

  // The same record, whatever its marks.
  constexpr bool SameRecord(Location other) const { return ((bits_ ^ other.bits_) & ~kMarks) == 0; }
  // The same payload in another slot. Its second chance is used up.
  constexpr Location MovedTo(SegmentId segment, uint32_t slot) const {
    return Location(Location(segment, slot, codec(), length()).bits_ |
                    (bits_ & (kSettled | kStayed)));
  }

  // A location can name those below.
  static constexpr uint32_t kMaxSegments = 1u << 28;

 private:
  // codec 3 | marks 3 | length 13 | slot 17 | segment 28
  static constexpr int kLengthShift = 6;
  static constexpr int kSlotShift = 19;
  static constexpr int kSegmentShift = 36;
  static constexpr uint64_t kCodecMask = 0x7;
  static constexpr uint64_t kReferenced = 0x8;
  static constexpr uint64_t kSettled = 0x10;
  static constexpr uint64_t kStayed = 0x20;
  static constexpr uint64_t kMarks = kReferenced | kSettled | kStayed;
  static constexpr uint64_t kLengthMask = 0x1fff;
  static constexpr uint32_t kSlotMask = 0x1ffff;
  static constexpr uint64_t kSegmentMask = kMaxSegments - 1;

  constexpr explicit Location(uint64_t bits) : bits_(bits) {}

  uint64_t bits_ = 0;  // no valid codec is 0, so no record's location is empty
};
static_assert(sizeof(Location) == 8);

// Addresses inside the segment that starts at `base`.
inline std::byte* SlotAddress(std::byte* base, SizeClass size_class, uint32_t slot) {
  return base + SlotSize(size_class) * slot;
}
inline RecordHeader& HeaderAt(std::byte* base, uint32_t slot) {
  return reinterpret_cast<RecordHeader*>(base + kSegmentSize)[-1 - static_cast<int64_t>(slot)];
}

}  // namespace tmem

#endif  // TMEM_POOLS_SEGMENT_H_
