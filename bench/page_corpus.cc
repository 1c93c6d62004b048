#include "page_corpus.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <span>
#include <string_view>

namespace tmem {

namespace {

Result<PageCorpus> ReadCorpus(const std::string& directory, const std::string& name,
                              size_t most_pages) {
  const auto path = std::filesystem::path(directory) / (name + ".pages");
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return Fail(ErrorCode::kNotFound,
                path.string() + " cannot be read; tools/page-corpus makes it");
  }
  PageCorpus corpus{name, std::vector<std::byte>(most_pages * kPageSize)};
  file.read(reinterpret_cast<char*>(corpus.bytes.data()),
            static_cast<std::streamsize>(corpus.bytes.size()));
  corpus.bytes.resize(static_cast<size_t>(file.gcount()) / kPageSize * kPageSize);
  if (corpus.size() == 0) return Fail(ErrorCode::kInvalid, path.string() + " holds no page");
  return corpus;
}

using Random = std::mt19937_64;

void FillWithText(Random& random, std::span<std::byte> page) {
  constexpr std::string_view kVocabulary[] = {"the ",     "guest ", "page ",   "of ",  "memory\n",
                                              "swapped ", "cold ",  "handle ", "and ", "again "};
  while (!page.empty()) {
    const std::string_view word = kVocabulary[random() % std::size(kVocabulary)];
    const size_t length = std::min(word.size(), page.size());
    std::memcpy(page.data(), word.data(), length);
    page = page.subspan(length);
  }
}

// Pointers into one heap and small numbers, in equal parts.
void FillWithPointers(Random& random, std::span<std::byte> page) {
  for (; !page.empty(); page = page.subspan(sizeof(uint64_t))) {
    const uint64_t word = random() % 2 == 0 ? random() % 64 : 0x7f0000000000 + random() % (1 << 26);
    std::memcpy(page.data(), &word, sizeof(word));
  }
}

PageCorpus SyntheticCorpus(size_t pages) {
  Random random(1);
  PageCorpus corpus{"synthetic", std::vector<std::byte>(pages * kPageSize)};
  for (size_t i = 0; i < pages; ++i) {
    const auto page = std::span(corpus.bytes).subspan(i * kPageSize, kPageSize);
    if (i % 8 < 3) {
      FillWithText(random, page);
    } else if (i % 8 < 7) {
      FillWithPointers(random, page);
    } else {
      std::ranges::generate(page, [&] { return static_cast<std::byte>(random()); });
    }
  }
  return corpus;
}

}  // namespace

Result<std::vector<PageCorpus>> LoadCorpora(size_t most_pages) {
  std::vector<PageCorpus> corpora;
  const char* const directory = std::getenv("TMEM_CORPUS");
  if (directory == nullptr) {
    corpora.push_back(SyntheticCorpus(most_pages));
    return corpora;
  }
  for (const char* name : {"anon", "file"}) {
    auto corpus = ReadCorpus(directory, name, most_pages);
    if (!corpus) return std::unexpected(std::move(corpus).error());
    corpora.push_back(std::move(*corpus));
  }
  return corpora;
}

}  // namespace tmem
