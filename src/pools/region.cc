#include "pools/region.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/units.h"

namespace tmem {

namespace {

Result<std::byte*> Map(size_t bytes, int flags, int file) {
  void* const base =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, file, /*offset=*/0);
  if (base == MAP_FAILED) {
    return std::unexpected(SystemError(
        fmt::format("cannot reserve {} of address space for the store", HumanBytes(Bytes(bytes)))));
  }
  // Huge pages halve the cost of random page copies; a kernel without them is merely slower.
  (void)madvise(base, bytes, MADV_HUGEPAGE);
  // Pages of guests do not belong in a core dump of the daemon.
  (void)madvise(base, bytes, MADV_DONTDUMP);
  return static_cast<std::byte*>(base);
}

}  // namespace

Result<Region> Region::Anonymous(size_t bytes) {
  auto base = Map(bytes, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  if (!base) return std::unexpected(std::move(base).error());
  return Region(UniqueFd(), *base, bytes);
}

Result<Region> Region::OfFile(int folder, const std::string& name, size_t bytes) {
  UniqueFd file(openat(folder, name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return std::unexpected(SystemError(fmt::format("cannot open the store's {}", name)));
  auto base = Map(bytes, MAP_SHARED, file.get());
  if (!base) return std::unexpected(std::move(base).error());
  return Region(std::move(file), *base, bytes);
}

Region::~Region() {
  if (base_ != nullptr) munmap(base_, bytes_);
}

size_t Region::Size() const {
  if (!file_) return bytes_;
  struct stat status;
  return fstat(file_.get(), &status) == 0 ? static_cast<size_t>(status.st_size) : 0;
}

bool Region::Provide(size_t offset, size_t bytes) const {
  if (!file_ || bytes == 0) return true;
  return fallocate(file_.get(), /*mode=*/0, static_cast<off_t>(offset),
                   static_cast<off_t>(bytes)) == 0;
}

void Region::Release(size_t offset, size_t bytes) const {
  if (!file_) {
    (void)madvise(base_ + offset, bytes, MADV_DONTNEED);
  } else {
    (void)fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    static_cast<off_t>(offset), static_cast<off_t>(bytes));
  }
}

}  // namespace tmem
