// Pages whose every byte follows from a seed, so that a test can tell later which page it got
// back without keeping it.
#ifndef TMEM_TESTS_POOLS_PAGE_MAKER_H_
#define TMEM_TESTS_POOLS_PAGE_MAKER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <ostream>

#include "base/units.h"
#include "compress/dictionary.h"

namespace tmem {

using Page = std::array<std::byte, kPageSize>;

enum class PageLook : uint8_t {
  kZero,        // the seed does not matter
  kSameFilled,  // one word throughout
  kText,        // lines that resemble each other: a third to a tenth when compressed
  kRandom,      // does not compress
};
inline constexpr int kPageLooks = 4;

std::ostream& operator<<(std::ostream& out, PageLook look);

void FillPage(PageLook look, uint64_t seed, MutablePageView page);
Page MakePage(PageLook look, uint64_t seed);

// Trained on text.
std::shared_ptr<const Dictionary> MakeDictionary(DictionaryId id);

// A good hash of one word, for seeds and for cheap randomness (splitmix64, S. Vigna).
constexpr uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

// An object id that is as good as random, the same for equal numbers.
constexpr ObjectId MakeObjectId(uint64_t number) {
  return {{Mix(number), Mix(number + 1), number}};
}

}  // namespace tmem

#endif  // TMEM_TESTS_POOLS_PAGE_MAKER_H_
