// Dictionaries for tests, trained on text, pointers and real pages.
#ifndef TMEM_TESTS_COMPRESS_SAMPLE_DICTIONARY_H_
#define TMEM_TESTS_COMPRESS_SAMPLE_DICTIONARY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "compress/dictionary.h"

namespace tmem {

// So many pages one after the other; the seed decides which.
std::vector<std::byte> SamplePages(size_t count, uint64_t seed);

// The same one each time it is asked for the same.
const Dictionary& SampleDictionary(DenseCodec codec, DictionaryId id = 7);

}  // namespace tmem

#endif  // TMEM_TESTS_COMPRESS_SAMPLE_DICTIONARY_H_
