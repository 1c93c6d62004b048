// The calls that this library interposes, as the kernel has them: for our own use, whatever the
// symbols of those names do.
#ifndef TMEM_RUN_PRELOAD_REAL_CALLS_H_
#define TMEM_RUN_PRELOAD_REAL_CALLS_H_

#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstddef>

namespace tmem::run::real {

inline void* Mmap(void* address, size_t size, int protection, int flags, int fd, off_t offset) {
  return reinterpret_cast<void*>(::syscall(SYS_mmap, address, size, protection, flags, fd, offset));
}

inline int Munmap(void* address, size_t size) {
  return static_cast<int>(::syscall(SYS_munmap, address, size));
}

inline void* Mremap(void* address, size_t size, size_t new_size, int flags, void* new_address) {
  return reinterpret_cast<void*>(
      ::syscall(SYS_mremap, address, size, new_size, flags, new_address));
}

inline int Madvise(void* address, size_t size, int advice) {
  return static_cast<int>(::syscall(SYS_madvise, address, size, advice));
}

inline int Mprotect(void* address, size_t size, int protection) {
  return static_cast<int>(::syscall(SYS_mprotect, address, size, protection));
}

[[noreturn]] inline void Exit(int status) {
  for (;;) ::syscall(SYS_exit_group, status);
}

}  // namespace tmem::run::real

#endif  // TMEM_RUN_PRELOAD_REAL_CALLS_H_
