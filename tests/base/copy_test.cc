#include "base/copy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <vector>

#include "base/units.h"

namespace tmem {
namespace {

using CopyFunction = void (*)(std::byte* to, const std::byte* from, size_t size);

constexpr std::byte kUntouched{0xee};
constexpr size_t kMargin = 128;

std::vector<std::byte> Pattern(size_t size) {
  std::vector<std::byte> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
  return bytes;
}

// Copies `size` bytes between the given offsets, and looks at them and at what lies around.
void ExpectCopies(CopyFunction copy, size_t size, size_t to_offset, size_t from_offset) {
  const auto from = Pattern(size + from_offset);
  std::vector<std::byte> to(size + 2 * kMargin, kUntouched);
  PrepareStreamingCopy(to.data() + to_offset, size);  // changes nothing
  copy(to.data() + to_offset, from.data() + from_offset, size);
  StreamingFence();
  const auto begin = to.begin() + static_cast<std::ptrdiff_t>(to_offset);
  const auto end = begin + static_cast<std::ptrdiff_t>(size);
  EXPECT_TRUE(std::equal(begin, end, from.begin() + static_cast<std::ptrdiff_t>(from_offset)));
  const auto untouched = [](std::byte byte) { return byte == kUntouched; };
  EXPECT_TRUE(std::all_of(to.begin(), begin, untouched));
  EXPECT_TRUE(std::all_of(end, to.end(), untouched));
}

// It once read the byte behind the destination, which AddressSanitizer knows not to be ours.
TEST(PrepareStreamingCopyTest, LooksAtNothingOutsideOfTheDestination) {
  for (size_t size = 0; size < 200; ++size) {
    const std::vector<std::byte> to(size);
    PrepareStreamingCopy(to.data(), size);
  }
}

class CopyTest : public testing::TestWithParam<CopyFunction> {};

TEST_P(CopyTest, CopiesEveryLengthAndAlignment) {
  for (const size_t size : {0, 1, 8, 63, 64, 65, 127, 128, 1000, 3072, 4095, 4096}) {
    for (const size_t to_offset : {0, 1, 16, 63}) {
      for (const size_t from_offset : {0, 1, 32, 61}) {
        ExpectCopies(GetParam(), size, to_offset, from_offset);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Both, CopyTest, testing::Values(&Copy, &StreamingCopy),
                         [](const auto& instance) {
                           return instance.param == &Copy ? "Copy" : "StreamingCopy";
                         });

}  // namespace
}  // namespace tmem
