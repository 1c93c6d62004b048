// The mapping calls of the jemalloc that is linked in: for its bookkeeping, straight to the kernel.
#include "run/preload/real_calls.h"

namespace real = tmem::run::real;

extern "C" {

void* tj_mmap(void* address, size_t size, int protection, int flags, int fd, off_t offset) {
  return real::Mmap(address, size, protection, flags, fd, offset);
}

int tj_munmap(void* address, size_t size) { return real::Munmap(address, size); }

int tj_madvise(void* address, size_t size, int advice) {
  return real::Madvise(address, size, advice);
}

int tj_mprotect(void* address, size_t size, int protection) {
  return real::Mprotect(address, size, protection);
}

}  // extern "C"
