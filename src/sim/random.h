// Cheap randomness that is the same on every machine: a run of the simulation follows from its
// seed alone. (splitmix64, S. Vigna; the standard library's distributions differ by vendor.)
#ifndef TMEM_SIM_RANDOM_H_
#define TMEM_SIM_RANDOM_H_

#include <cstdint>

namespace tmem::sim {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15;
    uint64_t x = state_;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
  }
  // 0 <= result < 1.
  double Fraction() { return static_cast<double>(Next() >> 11) * 0x1p-53; }
  // REQUIRES: bound > 0.
  uint32_t Below(uint32_t bound) { return static_cast<uint32_t>((Next() >> 32) * bound >> 32); }

 private:
  uint64_t state_;
};

}  // namespace tmem::sim

#endif  // TMEM_SIM_RANDOM_H_
