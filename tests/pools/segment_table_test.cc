#include "pools/segment_table.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <vector>

namespace tmem {
namespace {

constexpr uint32_t kSegments = 32;

std::vector<SegmentId> Contents(const SegmentList& list) {
  std::vector<SegmentId> contents;
  for (SegmentId s = list.first(); s != kNoSegment; s = list.After(s)) contents.push_back(s);
  return contents;
}

TEST(SegmentTable, DescriptorsNeverMove) {
  auto table = SegmentTable::Create(kSegments);
  ASSERT_TRUE(table);
  SegmentInfo* const first = &(**table)[0];
  SegmentInfo* const last = &(**table)[kSegments - 1];
  EXPECT_EQ(last - first, kSegments - 1);
  std::construct_at(last)->used = 7;
  EXPECT_EQ((**table)[kSegments - 1].used, 7);
  std::destroy_at(last);
}

TEST(SegmentTable, ARangeThatCannotBeReservedIsAnError) {
  // 2^32 descriptors are fine for address space; the test is that nothing is touched.
  auto table = SegmentTable::Create(UINT32_MAX);
  if (!table) {
    EXPECT_EQ(table.error().code, ErrorCode::kExhausted);
  }
}

// Both links of one segment are independent; each list behaves as a deque.
RC_GTEST_PROP(SegmentList, BehavesAsADeque, ()) {
  auto table = SegmentTable::Create(kSegments);
  RC_ASSERT(table.has_value());
  for (SegmentId s = 0; s < kSegments; ++s) std::construct_at(&(**table)[s]);
  SegmentList lists[2] = {SegmentList(**table, &SegmentInfo::partial),
                          SegmentList(**table, &SegmentInfo::age)};
  std::deque<SegmentId> models[2];

  const auto steps = *rc::gen::container<std::vector<uint32_t>>(rc::gen::arbitrary<uint32_t>());
  for (const uint32_t step : steps) {
    SegmentList& list = lists[step & 1];
    std::deque<SegmentId>& model = models[step & 1];
    const SegmentId segment = (step >> 2) % kSegments;
    const auto at = std::ranges::find(model, segment);
    if (at != model.end()) {
      list.Remove(segment);
      model.erase(at);
    } else if ((step & 2) != 0) {
      list.PushFront(segment);
      model.push_front(segment);
    } else {
      list.PushBack(segment);
      model.push_back(segment);
    }
    for (int i = 0; i < 2; ++i) {
      RC_ASSERT(std::ranges::equal(Contents(lists[i]), models[i]));
    }
  }
}

}  // namespace
}  // namespace tmem
