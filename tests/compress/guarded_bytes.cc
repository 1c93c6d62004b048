#include "compress/guarded_bytes.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

namespace tmem {

GuardedBytes::GuardedBytes(size_t size) {
  const size_t inside = (size + kPageSize - 1) / kPageSize * kPageSize;
  const size_t total = inside + 2 * kPageSize;
  void* const start =
      ::mmap(nullptr, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) throw std::bad_alloc();
  mapping_ = {static_cast<std::byte*>(start), total};
  if (inside != 0 && ::mprotect(mapping_.data() + kPageSize, inside, PROT_READ | PROT_WRITE) != 0) {
    throw std::bad_alloc();
  }
  bytes_ = mapping_.subspan(kPageSize + inside - size, size);
}

GuardedBytes::GuardedBytes(std::span<const std::byte> content) : GuardedBytes(content.size()) {
  std::ranges::copy(content, bytes_.begin());
}

GuardedBytes::~GuardedBytes() { ::munmap(mapping_.data(), mapping_.size()); }

}  // namespace tmem
