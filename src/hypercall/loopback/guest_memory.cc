#include "hypercall/loopback/guest_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <utility>
#include <vector>

#include "hypercall/loopback/wire.h"

namespace tmem::loopback {

namespace {

// Consecutive references, which one mapping serves.
struct Run {
  uint32_t first_page = 0;
  uint32_t pages = 0;
};

std::vector<Run> RunsOf(std::span<const GrantRef> refs) {
  std::vector<Run> runs;
  for (const GrantRef ref : refs) {
    const uint32_t page = ref.value - 1;
    if (runs.empty() || page != runs.back().first_page + runs.back().pages) {
      runs.push_back({page, 0});
    }
    ++runs.back().pages;
  }
  return runs;
}

}  // namespace

// Owns its address range from the reservation on, whether or not all pages got there.
class GuestMemory::Mapping final : public SharedPages {
 public:
  Mapping(std::shared_ptr<GuestMemory> memory, uint32_t runs)
      : memory_(std::move(memory)), runs_(runs) {}
  ~Mapping() override {
    if (base_ != MAP_FAILED) ::munmap(base_, size_);
    memory_->runs_.fetch_sub(runs_, std::memory_order_relaxed);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  Result<void> MapRuns(std::span<const Run> runs, size_t size) {
    base_ = ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base_ == MAP_FAILED) return std::unexpected(SystemError("cannot reserve addresses"));
    size_ = size;
    auto* at = static_cast<std::byte*>(base_);
    for (const Run& run : runs) {
      const size_t bytes = run.pages * kPageSize;
      const auto offset = static_cast<off_t>(run.first_page * kPageSize);
      if (::mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memory_->memfd_.get(),
                 offset) == MAP_FAILED) {
        return std::unexpected(SystemError("cannot map a guest's pages"));
      }
      at += bytes;
    }
    return {};
  }

  std::span<std::byte> bytes() const override { return {static_cast<std::byte*>(base_), size_}; }

 private:
  const std::shared_ptr<GuestMemory> memory_;
  const uint32_t runs_;
  void* base_ = MAP_FAILED;
  size_t size_ = 0;
};

GuestMemory::GuestMemory(UniqueFd memfd, uint32_t page_count)
    : memfd_(std::move(memfd)), page_count_(page_count) {}

Result<std::shared_ptr<GuestMemory>> GuestMemory::Adopt(UniqueFd memfd) {
  // The seals first: asking for them runs no code of a file system that the guest may serve.
  const int seals = memfd ? ::fcntl(memfd.get(), F_GET_SEALS) : -1;
  constexpr int kNeeded = F_SEAL_SHRINK | F_SEAL_GROW;
  if (seals < 0 || (seals & kNeeded) != kNeeded) {
    return Fail(ErrorCode::kInvalid,
                "the offered memory is not a memfd sealed with F_SEAL_SHRINK and F_SEAL_GROW");
  }
  struct statfs file_system{};
  struct stat file{};
  if (::fstatfs(memfd.get(), &file_system) != 0 || ::fstat(memfd.get(), &file) != 0) {
    return std::unexpected(SystemError("cannot examine the offered memory"));
  }
  if (file_system.f_type != TMPFS_MAGIC) {
    return Fail(ErrorCode::kInvalid, "the offered memory is of huge pages");
  }
  const auto size = static_cast<uint64_t>(file.st_size);
  if (size == 0 || size % kPageSize != 0 || size / kPageSize > kMaxGrantPages) {
    return Fail(ErrorCode::kInvalid, fmt::format("the offered memory has {} bytes; allowed are 1 "
                                                 "to {} whole pages",
                                                 size, kMaxGrantPages));
  }
  const int access = ::fcntl(memfd.get(), F_GETFL) & O_ACCMODE;
  if (access != O_RDWR || (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) != 0) {
    return Fail(ErrorCode::kInvalid, "the offered memory is not writable");
  }
  return std::shared_ptr<GuestMemory>(
      new GuestMemory(std::move(memfd), static_cast<uint32_t>(size / kPageSize)));
}

Result<std::unique_ptr<SharedPages>> GuestMemory::Map(std::span<const GrantRef> refs) {
  for (const GrantRef ref : refs) {
    if (ref.value == 0 || ref.value > page_count_) {
      return Fail(ErrorCode::kInvalid,
                  fmt::format("grant reference {} was not granted", ref.value));
    }
  }
  const std::vector<Run> runs = RunsOf(refs);
  const auto count = static_cast<uint32_t>(runs.size());
  // Counted before it is checked, and given back by the mapping: concurrent calls cannot pass
  // together.
  const uint32_t before = runs_.fetch_add(count, std::memory_order_relaxed);
  auto mapping = std::make_unique<Mapping>(shared_from_this(), count);
  if (refs.size() > kMaxGrantPages || before + count > kMaxMappedRuns) {
    return Fail(ErrorCode::kExhausted,
                fmt::format("the pages lie in more than {} pieces", kMaxMappedRuns));
  }
  TMEM_TRY(mapping->MapRuns(runs, refs.size() * kPageSize));
  return mapping;
}

}  // namespace tmem::loopback
