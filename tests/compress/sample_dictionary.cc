#include "compress/sample_dictionary.h"

#include <cstdlib>
#include <map>
#include <utility>

#include "compress/page_kinds.h"

namespace tmem {

std::vector<std::byte> SamplePages(size_t count, uint64_t seed) {
  constexpr PageKind kKinds[] = {PageKind::kText, PageKind::kPointers, PageKind::kReal};
  std::vector<std::byte> samples;
  for (size_t i = 0; i < count; ++i) {
    const Page page = MakePage(kKinds[i % std::size(kKinds)], seed + i);
    samples.insert(samples.end(), page.begin(), page.end());
  }
  return samples;
}

const Dictionary& SampleDictionary(DenseCodec codec, DictionaryId id) {
  static std::map<std::pair<DenseCodec, DictionaryId>, std::shared_ptr<const Dictionary>> made;
  auto& dictionary = made[{codec, id}];
  if (dictionary == nullptr) {
    auto trained = Dictionary::Train(id, SamplePages(Dictionary::kMinSamples * 2, id), codec);
    if (!trained) std::abort();
    dictionary = std::move(*trained);
  }
  return *dictionary;
}

}  // namespace tmem
