// Pages of every kind that a guest may send, for properties.
#ifndef TMEM_TESTS_COMPRESS_PAGE_KINDS_H_
#define TMEM_TESTS_COMPRESS_PAGE_KINDS_H_

#include <rapidcheck.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <ostream>

#include "base/units.h"

namespace tmem {

using Page = std::array<std::byte, kPageSize>;

enum class PageKind {
  kRandom,      // does not compress
  kText,        // words and spaces
  kZero,        //
  kSameFilled,  // one word throughout, not zero
  kSparse,      // zero but for a few bytes
  kPointers,    // words that share their upper bytes, as in heaps
  kHalfRandom,  // random up to some point, zero after: payloads of every size
  kReal,        // from this program's own file, and from $TMEM_CORPUS if that is set
};

std::ostream& operator<<(std::ostream& out, PageKind kind);

// A page of the kind; the seed decides which.
Page MakePage(PageKind kind, uint64_t seed);

// Random up to `random_bytes`, zero after.
Page MakeHalfRandomPage(size_t random_bytes, uint64_t seed);

rc::Gen<PageKind> AnyPageKind();

}  // namespace tmem

#endif  // TMEM_TESTS_COMPRESS_PAGE_KINDS_H_
