// Copies out of memory that a guest may write at the same time. From then on only the copy counts;
// the barrier keeps the compiler from looking at the original again in its place (XSA-155).
#ifndef TMEM_HYPERCALL_SHARED_COPY_H_
#define TMEM_HYPERCALL_SHARED_COPY_H_

#include <cstddef>
#include <cstring>

namespace tmem {

inline void CopyFromShared(void* to, const std::byte* from, size_t bytes) {
  std::memcpy(to, from, bytes);
  asm volatile("" : : : "memory");
}

}  // namespace tmem

#endif  // TMEM_HYPERCALL_SHARED_COPY_H_
