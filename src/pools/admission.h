// Who may have memory: decisions as pure functions, apart from those who carry them out.
//
// Memory is counted in segments. A claimant is a guest, or a shared pool.
#ifndef TMEM_POOLS_ADMISSION_H_
#define TMEM_POOLS_ADMISSION_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace tmem {

struct Claim {
  uint32_t weight = 1;      // at least 1
  uint32_t reserve = 0;     // segments always available to its persistent pages
  uint32_t persistent = 0;  // segments held
  uint32_t ephemeral = 0;
};

// May claimant `self` take one more segment for persistent pages? Not if the segments promised
// (to each the larger of its reserve and what its persistent pages hold) would then exceed the
// capacity: ephemeral pages make room, other guests' persistent pages and reserves do not. Within
// its own reserve a claimant always may, as long as the capacity is not all persistent already.
bool MayTakePersistent(std::span<const Claim> claims, size_t self, uint32_t capacity);

// The claimant whose oldest ephemeral segment goes next: the one that holds the most ephemeral
// memory for its weight, so that none below its weighted share loses any while another is above.
// nullopt if nobody holds any. A `taker`, for whose ephemeral pages this makes room, counts as if
// it held one segment more: at its share already, it replaces its own pages.
std::optional<size_t> PickVictim(std::span<const Claim> claims,
                                 std::optional<size_t> taker = std::nullopt);

}  // namespace tmem

#endif  // TMEM_POOLS_ADMISSION_H_
