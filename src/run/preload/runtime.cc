#include "run/preload/runtime.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <new>
#include <utility>

#include "base/units.h"
#include "run/forked_children.h"
#include "run/preload/fault_thread.h"
#include "run/preload/real_calls.h"
#include "run/preload/thread_role.h"

namespace tmem::run {

namespace {

// Address space only; halved until the kernel grants it (an address-space limit may be set).
constexpr size_t kLargestArena = size_t{256} << 30;
constexpr size_t kSmallestArena = size_t{256} << 20;
constexpr size_t kArenaAlignment = size_t{1} << 30;

constexpr int kPrivateAnonymous = MAP_PRIVATE | MAP_ANONYMOUS;

struct Reservation {
  std::byte* base = nullptr;
  size_t size = 0;
};

Result<Reservation> ReserveArena() {
  for (size_t size = kLargestArena; size >= kSmallestArena; size /= 2) {
    void* const memory = real::Mmap(nullptr, size + kArenaAlignment, PROT_READ | PROT_WRITE,
                                    kPrivateAnonymous | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) continue;
    const auto start = reinterpret_cast<uintptr_t>(memory);
    const uintptr_t aligned = (start + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
    if (aligned > start) real::Munmap(memory, aligned - start);
    const uintptr_t end = aligned + size;
    const uintptr_t reserved_end = start + size + kArenaAlignment;
    if (reserved_end > end) real::Munmap(reinterpret_cast<void*>(end), reserved_end - end);
    auto* const base = reinterpret_cast<std::byte*>(aligned);
    real::Madvise(base, size, MADV_NOHUGEPAGE);  // pages move one by one
    return Reservation{base, size};
  }
  return Fail(ErrorCode::kExhausted,
              "no address space for the arena: raise the limit (ulimit -v) or allow overcommit "
              "(sysctl vm.overcommit_memory=0)");
}

volatile uint64_t* MapWipedPage() {
  void* const page =
      real::Mmap(nullptr, kPageSize, PROT_READ | PROT_WRITE, kPrivateAnonymous, -1, 0);
  if (page == MAP_FAILED) throw std::bad_alloc();
  real::Madvise(page, kPageSize, MADV_WIPEONFORK);
  auto* const flag = static_cast<volatile uint64_t*>(page);
  *flag = 1;
  return flag;
}

size_t PagesOf(size_t size) { return (size + kPageSize - 1) / kPageSize; }

}  // namespace

std::atomic<Runtime*> Runtime::instance_{nullptr};

Runtime::Runtime(const Settings& settings, std::byte* base, size_t size)
    : settings_(settings),
      base_(base),
      size_(size),
      process_(::getpid()),
      serves_itself_(MapWipedPage()),
      doorbells_(base),
      ranges_({Doorbells::kReservedPages,
               static_cast<uint32_t>(size / kPageSize) - Doorbells::kReservedPages}) {}

Result<void> Runtime::Start(const Settings& settings) {
  const InternalScope scope;
  const auto arena = ReserveArena();
  if (!arena) return std::unexpected(arena.error());
  auto* const runtime = new Runtime(settings, arena->base, arena->size);
  TMEM_TRY(runtime->StartFaultLoop());
  // Before the heap registers its own: its locks are taken before ours, here and at fork().
  runtime->InstallForkHandlers();
  instance_.store(runtime, std::memory_order_release);
  return {};
}

Result<void> Runtime::StartFaultLoop() {
  auto guardian = Guardian::Start(base_);
  if (!guardian) return std::unexpected(std::move(guardian).error());
  const auto info = StartFaultThread({.settings = settings_,
                                      .base = base_,
                                      .pages = static_cast<uint32_t>(size_ / kPageSize),
                                      .doorbells = &doorbells_,
                                      .guardian = std::move(*guardian)});
  if (!info) return std::unexpected(info.error());
  can_fork_ = info->follows_forks;
  // fork() is refused then; a child made in another way shall crash rather than read zeros.
  if (!can_fork_) real::Madvise(base_, size_, MADV_DONTFORK);
  return {};
}

// The handlers run in whichever thread forks, in a child with nothing but that thread.
void Runtime::InstallForkHandlers() {
  ::pthread_atfork([] { Get()->mutex_.lock(); }, [] { Get()->mutex_.unlock(); },
                   [] {
                     Get()->mutex_.unlock();
                     Get()->ExpectHello();
                   });
}

// Waits until the parent's fault loop has made sure that this child does not outlive it unserved.
void Runtime::ExpectHello() const {
  if (!can_fork_) return;
  const auto* const hello =
      reinterpret_cast<const volatile uint64_t*>(base_ + size_t{Doorbells::kHelloPage} * kPageSize);
  if (*hello != ForkedChildren::kHello) real::Exit(kExitFailure);
}

PageRun Runtime::RunOf(const void* address, size_t size) const {
  const auto offset = static_cast<size_t>(static_cast<const std::byte*>(address) - base_);
  return {static_cast<uint32_t>(offset / kPageSize), static_cast<uint32_t>(PagesOf(size))};
}

void Runtime::Ring(Command::Kind kind, const void* address, size_t size) {
  doorbells_.Ring({kind, RunOf(address, size)});
}

void* Runtime::Map(size_t size, size_t alignment) {
  if (size == 0 || size >= size_ || alignment > kArenaAlignment) return nullptr;
  const InternalScope scope;
  const MutexLock lock(mutex_);
  const auto first = ranges_.Allocate(static_cast<uint32_t>(PagesOf(size)),
                                      static_cast<uint32_t>(PagesOf(alignment)));
  return first ? base_ + size_t{*first} * kPageSize : nullptr;
}

bool Runtime::Extend(void* address, size_t size, size_t new_size) {
  if (new_size >= size_) return false;
  const InternalScope scope;
  const MutexLock lock(mutex_);
  const auto grown = static_cast<uint32_t>(PagesOf(new_size) - PagesOf(size));
  return ranges_.Extend(RunOf(address, size), grown);
}

void Runtime::Unmap(void* address, size_t size) {
  // A forked child cannot give content up, so it cannot use the addresses again either.
  if (!serves_itself()) return;
  const InternalScope scope;
  const MutexLock lock(mutex_);
  Ring(Command::Kind::kDiscard, address, size);
  for (const PageRun& retired : ranges_.Free(RunOf(address, size))) {
    real::Munmap(base_ + size_t{retired.first} * kPageSize, retired.count * kPageSize);
  }
}

void Runtime::Discard(void* address, size_t size) {
  const InternalScope scope;
  const MutexLock lock(mutex_);
  Ring(Command::Kind::kDiscard, address, size);
}

void Runtime::Retire(void* address, size_t size) {
  const InternalScope scope;
  const MutexLock lock(mutex_);
  if (serves_itself()) Ring(Command::Kind::kDiscard, address, size);
  ranges_.Retire(RunOf(address, size));
}

void Runtime::SetReadable(void* address, size_t size, bool readable) {
  if (!serves_itself()) return;
  const InternalScope scope;
  const MutexLock lock(mutex_);
  Ring(readable ? Command::Kind::kUnpin : Command::Kind::kPin, address, size);
}

void Runtime::Finish() {
  // In a child of vfork() the memory is the parent's, the process is not.
  if (!serves_itself() || ::getpid() != process_) return;
  const InternalScope scope;
  doorbells_.Ring({Command::Kind::kFinish, {}});
}

}  // namespace tmem::run
