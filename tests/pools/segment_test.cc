#include "pools/segment.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace tmem {
namespace {

TEST(Segment, SlotsAndHeadersFillItWithoutOverlap) {
  for (int i = 0; i < SizeClassCount(); ++i) {
    const auto size_class = static_cast<SizeClass>(i);
    alignas(16) std::byte* const base = nullptr;
    const uint32_t last = SlotsPerSegment(size_class) - 1;
    const std::byte* const end = SlotAddress(base, size_class, last) + SlotSize(size_class);
    const auto* const lowest = reinterpret_cast<std::byte*>(&HeaderAt(base, last));
    EXPECT_LE(end, lowest) << i;
    EXPECT_LT(lowest - end, static_cast<ptrdiff_t>(SlotSize(size_class) + sizeof(RecordHeader)))
        << "room for another slot, class " << i;
    const auto* const top = reinterpret_cast<std::byte*>(&HeaderAt(base, 0) + 1);
    EXPECT_EQ(top - base, static_cast<ptrdiff_t>(kSegmentSize)) << i;
  }
}

TEST(Segment, ChargeIsThePayloadInGranulesAndItsHeader) {
  EXPECT_EQ(RecordCharge(1), Bytes(16 + 24));
  EXPECT_EQ(RecordCharge(8), Bytes(16 + 24));
  EXPECT_EQ(RecordCharge(16), Bytes(16 + 24));
  EXPECT_EQ(RecordCharge(17), Bytes(32 + 24));
  EXPECT_EQ(RecordCharge(kPageSize), Bytes(4096 + 24));
}

TEST(Location, DefaultIsEmptyAndNoRecordIs) {
  EXPECT_FALSE(Location());
  EXPECT_TRUE(Location(0, 0, Codec::kRaw, 1));
}

RC_GTEST_PROP(Location, KeepsAllItIsGiven, ()) {
  const auto segment = *rc::gen::oneOf(rc::gen::inRange<SegmentId>(0, Location::kMaxSegments),
                                       rc::gen::element<SegmentId>(0, Location::kMaxSegments - 1));
  const auto size_class =
      static_cast<SizeClass>(*rc::gen::inRange<int>(0, static_cast<int>(SizeClassCount())));
  const auto slot = *rc::gen::oneOf(
      rc::gen::inRange<uint32_t>(0, SlotsPerSegment(size_class)),
      rc::gen::element<uint32_t>(0, SlotsPerSegment(size_class) - 1, SlotsPerSegment(0) - 1));
  const auto length = *rc::gen::inRange<size_t>(1, kPageSize + 1);
  const auto codec = *rc::gen::element(Codec::kRaw, Codec::kSameFilled, Codec::kLz4, Codec::kZstd,
                                       Codec::kLz4Dictionary, Codec::kZstdDictionary);

  const Location location(segment, slot, codec, length);
  const Location used = location.WithReferenced();
  const Location marked = location.WithSettled().WithStayed();
  for (const Location l : {location, used, marked}) {
    RC_ASSERT(static_cast<bool>(l));
    RC_ASSERT(l.segment() == segment);
    RC_ASSERT(l.slot() == slot);
    RC_ASSERT(l.codec() == codec);
    RC_ASSERT(l.length() == length);
    RC_ASSERT(l.charge() == RecordCharge(length));
  }
  RC_ASSERT(!location.referenced() && !location.settled() && !location.stayed());
  RC_ASSERT(used.referenced() && !used.settled() && !used.stayed());
  RC_ASSERT(marked.settled() && marked.stayed() && !marked.WithoutStayed().stayed());
  RC_ASSERT(location.SameRecord(marked));
  const Location moved = marked.WithReferenced().MovedTo(segment ^ 1, slot);
  RC_ASSERT(moved.segment() == (segment ^ 1) && moved.slot() == slot);
  RC_ASSERT(moved.codec() == codec && moved.length() == length);
  RC_ASSERT(moved.settled() && moved.stayed() && !moved.referenced());
  RC_ASSERT(location.SameRecord(used));
  RC_ASSERT(!location.SameRecord(Location(segment ^ 1, slot, codec, length)));
  RC_ASSERT(!location.SameRecord(Location(segment, slot ^ 1, codec, length)));
}

}  // namespace
}  // namespace tmem
