#include "pools/page_maker.h"

#include <cstring>
#include <vector>

namespace tmem {

namespace {

constexpr size_t kWord = sizeof(uint64_t);

void SetWord(MutablePageView page, size_t index, uint64_t word) {
  std::memcpy(page.data() + index * kWord, &word, kWord);
}

void FillWithText(uint64_t seed, MutablePageView page) {
  constexpr size_t kLine = 64;
  std::array<char, kLine> line;
  for (size_t i = 0; i < kLine; ++i) {
    line[i] = static_cast<char>('a' + (Mix(seed + i / 4) >> i % 4 * 8 & 0xf));
  }
  // Some lines share less with the rest than others, so that payloads have many sizes.
  const size_t fresh = 4 + seed % 5 * 4;
  for (size_t at = 0; at < kPageSize; at += kLine) {
    for (size_t i = 0; i < fresh; ++i) {
      line[i] = static_cast<char>('A' + (Mix(seed ^ (at + i / 8)) >> i % 8 * 8 & 0x1f));
    }
    std::memcpy(page.data() + at, line.data(), kLine);
  }
}

}  // namespace

std::ostream& operator<<(std::ostream& out, PageLook look) {
  constexpr const char* kNames[kPageLooks] = {"zero", "same-filled", "text", "random"};
  return out << kNames[static_cast<int>(look)];
}

void FillPage(PageLook look, uint64_t seed, MutablePageView page) {
  switch (look) {
    case PageLook::kZero:
      std::memset(page.data(), 0, kPageSize);
      break;
    case PageLook::kSameFilled:
      for (size_t i = 0; i < kPageSize / kWord; ++i) SetWord(page, i, seed);
      break;
    case PageLook::kText:
      FillWithText(seed, page);
      break;
    case PageLook::kRandom:
      for (size_t i = 0; i < kPageSize / kWord; ++i) SetWord(page, i, Mix(seed + i));
      break;
  }
}

Page MakePage(PageLook look, uint64_t seed) {
  Page page;
  FillPage(look, seed, page);
  return page;
}

std::shared_ptr<const Dictionary> MakeDictionary(DictionaryId id) {
  std::vector<std::byte> samples;
  for (uint32_t i = 0; i < Dictionary::kMinSamples; ++i) {
    const Page page = MakePage(PageLook::kText, i);
    samples.insert(samples.end(), page.begin(), page.end());
  }
  return Dictionary::Train(id, samples, DenseCodec::kLz4).value();
}

}  // namespace tmem
