// XXH3 by AVX2, whatever the rest of the program is compiled for.
#ifndef TMEM_POOLS_CHECKSUM_AVX2_H_
#define TMEM_POOLS_CHECKSUM_AVX2_H_

#include <cstddef>
#include <cstdint>

namespace tmem {

// XXH3's 64 bits, under a seed. REQUIRES: the processor has AVX2.
uint64_t Xxh3Avx2(const void* bytes, size_t size, uint64_t seed);

}  // namespace tmem

#endif  // TMEM_POOLS_CHECKSUM_AVX2_H_
