#include "run/doorbells.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>

#include "base/units.h"

namespace tmem::run {

uint32_t Doorbells::Take() {
  for (;;) {
    uint64_t taken = taken_.load(std::memory_order_relaxed);
    while (taken != ~uint64_t{0}) {
      const auto free = static_cast<uint32_t>(std::countr_one(taken));
      // Pairs with the release in Ring(): the page is absent again and the command free to write.
      if (taken_.compare_exchange_weak(taken, taken | uint64_t{1} << free,
                                       std::memory_order_acquire)) {
        return free;
      }
    }
    ::sched_yield();
  }
}

void Doorbells::Ring(const Command& command) {
  const uint32_t bell = Take();
  commands_[bell] = command;
  std::byte* const page = arena_ + bell * kPageSize;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  static_cast<void>(*static_cast<const volatile std::byte*>(page));
  // Absent again, for the next ring. A system call of our own: madvise() may be interposed.
  ::syscall(SYS_madvise, page, kPageSize, MADV_DONTNEED);
  taken_.fetch_and(~(uint64_t{1} << bell), std::memory_order_release);
}

}  // namespace tmem::run
