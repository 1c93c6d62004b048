#include "compress/page_kinds.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tmem {

namespace {

using Random = std::mt19937_64;

void AppendPages(const std::filesystem::path& path, size_t most, std::vector<Page>& pages) {
  std::ifstream file(path, std::ios::binary);
  Page page;
  while (most-- > 0 && file.read(reinterpret_cast<char*>(page.data()), kPageSize)) {
    pages.push_back(page);
  }
}

const std::vector<Page>& RealPages() {
  static const std::vector<Page> real_pages = [] {
    constexpr size_t kMostPagesAFile = 4096;
    std::vector<Page> pages;
    AppendPages("/proc/self/exe", kMostPagesAFile, pages);
    if (const char* const corpus = std::getenv("TMEM_CORPUS")) {
      AppendPages(std::filesystem::path(corpus) / "anon.pages", kMostPagesAFile, pages);
      AppendPages(std::filesystem::path(corpus) / "file.pages", kMostPagesAFile, pages);
    }
    return pages;
  }();
  return real_pages;
}

void SetWord(Page& page, size_t index, uint64_t word) {
  std::memcpy(page.data() + index * sizeof(word), &word, sizeof(word));
}

constexpr size_t kWords = kPageSize / sizeof(uint64_t);

Page TextPage(Random& random) {
  constexpr std::string_view kVocabulary[] = {"the ",     "guest ",  "page ", "of ",    "memory\n",
                                              "swapped ", "handle ", "and ",  "cold, ", "again. "};
  std::string text;
  while (text.size() < kPageSize) {
    text += kVocabulary[random() % std::size(kVocabulary)];
    if (random() % 8 == 0) text += std::to_string(random() % 100'000);
  }
  Page page;
  std::memcpy(page.data(), text.data(), kPageSize);
  return page;
}

Page SparsePage(Random& random) {
  Page page{};
  const size_t count = 1 + random() % 32;
  for (size_t i = 0; i < count; ++i) {
    page[random() % kPageSize] = static_cast<std::byte>(1 + random() % 255);
  }
  return page;
}

Page PointersPage(Random& random) {
  Page page;
  for (size_t i = 0; i < kWords; ++i) {
    SetWord(page, i,
            random() % 3 == 0 ? random() % 16 : 0x7f0000000000 + random() % (1 << 22) * 16);
  }
  return page;
}

Page SameFilledPage(Random& random) {
  Page page;
  const uint64_t word = random() | 1;
  for (size_t i = 0; i < kWords; ++i) SetWord(page, i, word);
  return page;
}

}  // namespace

std::ostream& operator<<(std::ostream& out, PageKind kind) {
  constexpr std::string_view kNames[] = {"random", "text",     "zero",        "same-filled",
                                         "sparse", "pointers", "half-random", "real"};
  return out << kNames[static_cast<size_t>(kind)];
}

Page MakeHalfRandomPage(size_t random_bytes, uint64_t seed) {
  Random random(seed);
  Page page{};
  for (size_t i = 0; i < random_bytes; ++i) page[i] = static_cast<std::byte>(random());
  return page;
}

Page MakePage(PageKind kind, uint64_t seed) {
  Random random(seed);
  switch (kind) {
    case PageKind::kRandom:
      return MakeHalfRandomPage(kPageSize, seed);
    case PageKind::kText:
      return TextPage(random);
    case PageKind::kZero:
      return Page{};
    case PageKind::kSameFilled:
      return SameFilledPage(random);
    case PageKind::kSparse:
      return SparsePage(random);
    case PageKind::kPointers:
      return PointersPage(random);
    case PageKind::kHalfRandom:
      return MakeHalfRandomPage(random() % (kPageSize + 1), seed);
    case PageKind::kReal:
      return RealPages()[random() % RealPages().size()];
  }
  std::abort();
}

rc::Gen<PageKind> AnyPageKind() {
  return rc::gen::element(PageKind::kRandom, PageKind::kText, PageKind::kZero,
                          PageKind::kSameFilled, PageKind::kSparse, PageKind::kPointers,
                          PageKind::kHalfRandom, PageKind::kReal);
}

}  // namespace tmem
