// tmemrun inside the program: the arena, the thread that serves it, and what the interposed
// functions do with them.
//
// One for the process, started by the library's constructor and never destroyed: the program's
// memory lives in it to the last instruction. Get() is null in a process that does not run under
// tmem; everything then goes to the C library and the kernel unchanged.
//
// Threads: everything but Start() from any thread of the program. Addresses passed in lie in the
// arena where it says so. No function touches arena memory while it holds the lock, except the
// stack it stands on, which the fault loop serves without that lock.
#ifndef TMEM_RUN_PRELOAD_RUNTIME_H_
#define TMEM_RUN_PRELOAD_RUNTIME_H_

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/mutex.h"
#include "base/result.h"
#include "run/doorbells.h"
#include "run/guardian.h"
#include "run/range_allocator.h"
#include "run/settings.h"

namespace tmem::run {

class Runtime {
 public:
  static Runtime* Get() { return instance_.load(std::memory_order_acquire); }

  // Puts this process under tmem. Once, before it has other threads.
  static Result<void> Start(const Settings& settings);

  bool Contains(const void* address) const {
    return static_cast<size_t>(static_cast<const std::byte*>(address) - base_) < size_;
  }

  // Zeroed memory for the program, aligned to `alignment` (a power of two, at least a page); null
  // if the arena is used up. `size` is rounded up to pages.
  void* Map(size_t size, size_t alignment);
  // Grows a piece in place; false if what follows is in use.
  bool Extend(void* address, size_t size, size_t new_size);
  // Gives memory back. REQUIRES: all of it was mapped.
  void Unmap(void* address, size_t size);
  // The content is not wanted: reads as zeros from now on.
  void Discard(void* address, size_t size);
  // Something else is being mapped over part of the arena.
  void Retire(void* address, size_t size);
  // Tells whether the fault loop may read the memory.
  void SetReadable(void* address, size_t size, bool readable);

  // False in a forked child: it has the arena as it was, and no fault loop of its own to ask.
  bool serves_itself() const { return *serves_itself_ != 0; }

  // False where the kernel does not tell of forks: a child could not see the arena.
  bool can_fork() const { return can_fork_; }

  // The process is about to exit. Does nothing in forked children.
  void Finish();

 private:
  Runtime(const Settings& settings, std::byte* base, size_t size);

  Result<void> StartFaultLoop();
  void InstallForkHandlers();
  void ExpectHello() const;
  PageRun RunOf(const void* address, size_t size) const;
  void Ring(Command::Kind kind, const void* address, size_t size);

  static std::atomic<Runtime*> instance_;

  const Settings settings_;
  std::byte* const base_;
  const size_t size_;
  const pid_t process_;
  // A page that the kernel wipes in children.
  volatile uint64_t* const serves_itself_;
  bool can_fork_ = false;
  Doorbells doorbells_;
  // Held during a change of what is mapped, the command to the fault loop included, and during
  // fork(): a child then never misses a copy that was given up after it was forked.
  Mutex mutex_{LockRank::kLeaf};
  RangeAllocator ranges_ TMEM_GUARDED_BY(mutex_);
};

}  // namespace tmem::run

#endif  // TMEM_RUN_PRELOAD_RUNTIME_H_
