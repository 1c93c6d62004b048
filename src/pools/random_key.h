// A key that nobody can guess, for hashes whose inputs an attacker chooses.
#ifndef TMEM_POOLS_RANDOM_KEY_H_
#define TMEM_POOLS_RANDOM_KEY_H_

#include <cstdint>
#include <random>

namespace tmem {

inline uint64_t RandomKey() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

}  // namespace tmem

#endif  // TMEM_POOLS_RANDOM_KEY_H_
