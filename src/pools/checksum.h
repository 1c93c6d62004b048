// What tells a payload from one that memory, or a bug, has changed.
#ifndef TMEM_POOLS_CHECKSUM_H_
#define TMEM_POOLS_CHECKSUM_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "compress/dictionary.h"

namespace tmem {

// The low half of XXH3's 64 bits, seeded with the fingerprint of the dictionary that the payload
// was made with: with another one it would decode to another page.
uint32_t Checksum(std::span<const std::byte> payload, const Dictionary* dictionary = nullptr);

}  // namespace tmem

#endif  // TMEM_POOLS_CHECKSUM_H_
