// What tells a payload from one that memory, or a bug, has changed.
#ifndef TMEM_POOLS_CHECKSUM_H_
#define TMEM_POOLS_CHECKSUM_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace tmem {

// The low half of XXH3's 64 bits.
uint32_t Checksum(std::span<const std::byte> payload);

}  // namespace tmem

#endif  // TMEM_POOLS_CHECKSUM_H_
