#include "base/mutex.h"

#include <cstdio>
#include <cstdlib>

namespace tmem {

#ifndef NDEBUG

namespace {
// Bit r is set while this thread holds a lock of rank r: one of each at most.
thread_local uint32_t held_ranks = 0;
}  // namespace

void Mutex::CheckRank() const {
  if (held_ranks >> static_cast<unsigned>(rank_) == 0) return;
  std::fprintf(stderr, "lock rank breach: taking rank %u while holding ranks %#x\n",
               static_cast<unsigned>(rank_), held_ranks);
  std::abort();
}

void Mutex::NoteLocked() const { held_ranks |= 1u << static_cast<unsigned>(rank_); }

void Mutex::NoteUnlocked() const { held_ranks &= ~(1u << static_cast<unsigned>(rank_)); }

#endif

}  // namespace tmem
