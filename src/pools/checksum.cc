#include "pools/checksum.h"

#include <xxhash.h>
#if defined(__x86_64__)
#include <xxh_x86dispatch.h>  // XXH3 with the widest vectors that the processor has
#endif

namespace tmem {

uint32_t Checksum(std::span<const std::byte> payload, const Dictionary* dictionary) {
  if (dictionary == nullptr) {
    return static_cast<uint32_t>(XXH3_64bits(payload.data(), payload.size()));
  }
  return static_cast<uint32_t>(
      XXH3_64bits_withSeed(payload.data(), payload.size(), dictionary->fingerprint()));
}

}  // namespace tmem
