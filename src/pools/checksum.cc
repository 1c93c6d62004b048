#include "pools/checksum.h"

#include <xxhash.h>

#include "pools/checksum_avx2.h"

namespace tmem {

namespace {

using Xxh3 = uint64_t (*)(const void* bytes, size_t size, uint64_t seed);

#if defined(__x86_64__)
// Not by AVX-512, as xxHash's own dispatch would have it: that is faster by 20 ns a page and slows
// down by some 500 ns what comes after it (docs/decisions/0007-what-a-put-waits-for.md).
const Xxh3 kXxh3 = __builtin_cpu_supports("avx2") != 0 ? &Xxh3Avx2 : &XXH3_64bits_withSeed;
#else
constexpr Xxh3 kXxh3 = &XXH3_64bits_withSeed;
#endif

}  // namespace

uint32_t Checksum(std::span<const std::byte> payload, const Dictionary* dictionary) {
  const uint64_t seed = dictionary != nullptr ? dictionary->fingerprint() : 0;
  return static_cast<uint32_t>(kXxh3(payload.data(), payload.size(), seed));
}

}  // namespace tmem
