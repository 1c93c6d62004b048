#include "pools/checksum.h"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <cstddef>
#include <span>

#include "base/units.h"
#include "pools/page_maker.h"

namespace tmem {
namespace {

// What is in a store was written by any processor: all have to agree.
TEST(ChecksumTest, IsXxh3OfEveryLength) {
  const Page bytes = MakePage(PageLook::kText, 1);
  for (size_t size = 0; size <= kPageSize; ++size) {
    EXPECT_EQ(Checksum(std::span(bytes).first(size)),
              static_cast<uint32_t>(XXH3_64bits(bytes.data(), size)))
        << size;
  }
}

TEST(ChecksumTest, IsSeededWithTheDictionary) {
  const Page bytes = MakePage(PageLook::kText, 1);
  const auto dictionary = MakeDictionary(1);
  for (const size_t size : {1u, 17u, 240u, 241u, 1000u, 4096u}) {
    EXPECT_EQ(
        Checksum(std::span(bytes).first(size), dictionary.get()),
        static_cast<uint32_t>(XXH3_64bits_withSeed(bytes.data(), size, dictionary->fingerprint())))
        << size;
  }
}

}  // namespace
}  // namespace tmem
