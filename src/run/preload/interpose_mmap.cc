// The mapping functions, for the program: large anonymous private mappings live in the arena.
#include <sys/mman.h>

#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstring>

#include "base/units.h"
#include "run/preload/real_calls.h"
#include "run/preload/runtime.h"
#include "run/preload/thread_role.h"

namespace real = tmem::run::real;
using tmem::kPageSize;
using tmem::run::Runtime;
using tmem::run::thread_role;
using tmem::run::ThreadRole;

namespace {

// Smaller mappings are not worth a place in the arena.
constexpr size_t kThreshold = 128 << 10;

// Anonymous, private, and nothing special about it but what the arena gives anyway.
constexpr int kRequiredFlags = MAP_PRIVATE | MAP_ANONYMOUS;
constexpr int kHarmlessFlags = kRequiredFlags | MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK;

// The runtime, for a program's thread; null: leave the call to the kernel.
Runtime* RuntimeForProgram() {
  return thread_role >= ThreadRole::kInternal ? nullptr : Runtime::Get();
}

Runtime* RuntimeFor(const void* address) {
  Runtime* const runtime = RuntimeForProgram();
  return runtime != nullptr && runtime->Contains(address) ? runtime : nullptr;
}

bool BelongsInArena(size_t size, int protection, int flags) {
  return size >= kThreshold && protection == (PROT_READ | PROT_WRITE) &&
         (flags & kRequiredFlags) == kRequiredFlags && (flags & ~kHarmlessFlags) == 0;
}

bool IsPageAligned(const void* address) {
  return reinterpret_cast<uintptr_t>(address) % kPageSize == 0;
}

void* Map(void* address, size_t size, int protection, int flags, int fd, off_t offset) {
  Runtime* const runtime = RuntimeForProgram();
  if (runtime != nullptr) {
    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
      if (flags & MAP_FIXED && runtime->Contains(address)) runtime->Retire(address, size);
    } else if (BelongsInArena(size, protection, flags)) {
      if (void* const memory = runtime->Map(size, kPageSize)) return memory;
    }
  }
  return real::Mmap(address, size, protection, flags, fd, offset);
}

// Content goes through the fault loop page by page; both pieces may be larger than memory.
void* MoveOut(Runtime& runtime, void* address, size_t size, size_t new_size, int flags,
              void* new_address) {
  void* moved = nullptr;
  if (flags & MREMAP_FIXED) {
    moved = real::Mmap(new_address, new_size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (moved == MAP_FAILED) return MAP_FAILED;
  } else {
    moved = runtime.Map(new_size, kPageSize);
  }
  if (moved == nullptr) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  std::memcpy(moved, address, size < new_size ? size : new_size);
  runtime.Unmap(address, size);
  return moved;
}

size_t RoundUp(size_t size) { return (size + kPageSize - 1) & ~(kPageSize - 1); }

void* Remap(Runtime& runtime, void* address, size_t size, size_t new_size, int flags,
            void* new_address) {
  size = RoundUp(size);
  new_size = RoundUp(new_size);
  if (!IsPageAligned(address) || size == 0 || new_size == 0 || flags & MREMAP_DONTUNMAP) {
    errno = EINVAL;
    return MAP_FAILED;
  }
  if (flags & MREMAP_FIXED) return MoveOut(runtime, address, size, new_size, flags, new_address);
  if (new_size <= size) {
    if (new_size < size) runtime.Unmap(static_cast<char*>(address) + new_size, size - new_size);
    return address;
  }
  if (runtime.Extend(address, size, new_size)) return address;
  if (flags & MREMAP_MAYMOVE) return MoveOut(runtime, address, size, new_size, flags, nullptr);
  errno = ENOMEM;
  return MAP_FAILED;
}

}  // namespace

extern "C" {

void* mmap(void* address, size_t size, int protection, int flags, int fd, off_t offset) noexcept {
  return Map(address, size, protection, flags, fd, offset);
}

void* mmap64(void* address, size_t size, int protection, int flags, int fd, off_t offset) noexcept {
  return Map(address, size, protection, flags, fd, offset);
}

int munmap(void* address, size_t size) noexcept {
  Runtime* const runtime = RuntimeFor(address);
  if (runtime == nullptr || !IsPageAligned(address) || size == 0) {
    return real::Munmap(address, size);
  }
  runtime->Unmap(address, size);
  return 0;
}

void* mremap(void* address, size_t size, size_t new_size, int flags, ...) noexcept {
  void* new_address = nullptr;
  if (flags & MREMAP_FIXED) {
    va_list arguments;
    va_start(arguments, flags);
    new_address = va_arg(arguments, void*);
    va_end(arguments);
  }
  if (Runtime* const runtime = RuntimeFor(address)) {
    return Remap(*runtime, address, size, new_size, flags, new_address);
  }
  return real::Mremap(address, size, new_size, flags, new_address);
}

int madvise(void* address, size_t size, int advice) noexcept {
  Runtime* const runtime = RuntimeFor(address);
  if (runtime == nullptr || !IsPageAligned(address)) return real::Madvise(address, size, advice);
  switch (advice) {
    case MADV_DONTNEED:
    case MADV_FREE:
      if (size == 0) return 0;
      if (runtime->serves_itself()) {
        runtime->Discard(address, size);
      } else if (advice == MADV_DONTNEED) {
        std::memset(address, 0, RoundUp(size));
      }
      return 0;
    case MADV_WILLNEED:
    case MADV_COLD:
    case MADV_PAGEOUT:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
      return 0;  // hints; what is in memory is tmemrun's to decide
    default:
      return real::Madvise(address, size, advice);
  }
}

int mprotect(void* address, size_t size, int protection) noexcept {
  Runtime* const runtime = RuntimeFor(address);
  if (runtime == nullptr || size == 0) return real::Mprotect(address, size, protection);
  // The fault loop reads pages to store them: it must know before it cannot, and after it can.
  const bool readable = protection & PROT_READ;
  if (!readable) runtime->SetReadable(address, size, false);
  const int result = real::Mprotect(address, size, protection);
  if (readable && result == 0) runtime->SetReadable(address, size, true);
  return result;
}

}  // extern "C"
