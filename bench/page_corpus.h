// The pages that benchmarks run on: real ones gathered by tools/page-corpus, or made-up ones.
#ifndef TMEM_BENCH_PAGE_CORPUS_H_
#define TMEM_BENCH_PAGE_CORPUS_H_

#include <cstddef>
#include <string>
#include <vector>

#include "base/units.h"

namespace tmem {

struct PageCorpus {
  std::string name;
  std::vector<std::byte> bytes;

  size_t size() const { return bytes.size() / kPageSize; }
  // REQUIRES: index < size().
  PageView page(size_t index) const {
    return PageView(bytes.data() + index * kPageSize, kPageSize);
  }
};

// "anon" and "file" from the directory that $TMEM_CORPUS names, at most `most_pages` of each; if
// the variable is not set, one corpus "synthetic", of text, pointers and random bytes. A directory
// that cannot be read is an error.
Result<std::vector<PageCorpus>> LoadCorpora(size_t most_pages);

}  // namespace tmem

#endif  // TMEM_BENCH_PAGE_CORPUS_H_
