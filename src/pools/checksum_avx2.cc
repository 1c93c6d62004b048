// Compiled for AVX2, and so without any header whose inline functions other files share: the linker
// might keep the ones from here for all of them.
#include "pools/checksum_avx2.h"

#include <immintrin.h>

#define XXH_INLINE_ALL
#define XXH_VECTOR XXH_AVX2
#include <xxhash.h>

namespace tmem {

uint64_t Xxh3Avx2(const void* bytes, size_t size, uint64_t seed) {
  const uint64_t hash = XXH3_64bits_withSeed(bytes, size, seed);
  // GCC 12 leaves it out here, and every SSE instruction after this would wait for the one before.
  _mm256_zeroupper();
  return hash;
}

}  // namespace tmem
