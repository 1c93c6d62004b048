#include "client/shared_area.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <utility>

#include "base/units.h"
#include "hypercall/abi/tmemif.h"

namespace tmem::client {

namespace {

size_t RingPages(const Shape& shape) { return size_t{1} << shape.ring_page_order; }

size_t References(const Shape& shape) { return RingPages(shape) + shape.slots; }

size_t DirectoryPages(const Shape& shape) {
  return (References(shape) + TMEMIF_DIRECTORY_REFS - 1) / TMEMIF_DIRECTORY_REFS;
}

// Directory, ring and slots follow each other.
size_t QueuePages(const Shape& shape) { return DirectoryPages(shape) + References(shape); }

uint32_t RefOfPage(size_t page) { return static_cast<uint32_t>(page) + 1; }

}  // namespace

Result<SharedArea> SharedArea::Create(const Shape& shape) {
  const size_t bytes = shape.queues * QueuePages(shape) * kPageSize;
  UniqueFd memfd(::memfd_create("tmem", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memfd) return std::unexpected(SystemError("cannot create shared memory"));
  if (::ftruncate(memfd.get(), static_cast<off_t>(bytes)) != 0 ||
      ::fcntl(memfd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return std::unexpected(SystemError("cannot set up shared memory"));
  }
  // Populated, so that the pages are ours and not charged to the daemon that touches them.
  void* const base =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, memfd.get(), 0);
  if (base == MAP_FAILED) return std::unexpected(SystemError("cannot map shared memory"));
  // A forked child must not write on our rings.
  ::madvise(base, bytes, MADV_DONTFORK);
  return SharedArea(std::move(memfd), static_cast<std::byte*>(base), bytes);
}

SharedArea::SharedArea(UniqueFd memfd, std::byte* base, size_t bytes)
    : memfd_(std::move(memfd)), base_(base), bytes_(bytes) {}

SharedArea::SharedArea(SharedArea&& other) noexcept
    : memfd_(std::move(other.memfd_)),
      base_(std::exchange(other.base_, nullptr)),
      bytes_(other.bytes_),
      shape_(other.shape_) {}

SharedArea::~SharedArea() {
  if (base_ != nullptr) ::munmap(base_, bytes_);
}

size_t SharedArea::FirstPage(uint32_t queue) const { return queue * QueuePages(shape_); }

std::span<std::byte> SharedArea::Pages(size_t first, size_t count) const {
  return {base_ + first * kPageSize, count * kPageSize};
}

void SharedArea::Lay(const Shape& shape) {
  shape_ = shape;
  for (uint32_t queue = 0; queue < shape.queues; ++queue) {
    const size_t first = FirstPage(queue);
    const size_t directories = DirectoryPages(shape);
    size_t page = first + directories;
    size_t left = References(shape);
    for (size_t i = 0; i < directories; ++i) {
      auto& directory = *reinterpret_cast<tmemif_directory*>(Pages(first + i, 1).data());
      directory = {};
      directory.count = static_cast<uint32_t>(std::min<size_t>(left, TMEMIF_DIRECTORY_REFS));
      directory.next = i + 1 < directories ? RefOfPage(first + i + 1) : TMEMIF_DIRECTORY_END;
      for (uint32_t k = 0; k < directory.count; ++k) directory.ref[k] = RefOfPage(page++);
      left -= directory.count;
    }
    reinterpret_cast<tmemif_ring*>(Ring(queue).data())->rsp_event = 1;
  }
}

std::span<std::byte> SharedArea::Ring(uint32_t queue) const {
  return Pages(FirstPage(queue) + DirectoryPages(shape_), RingPages(shape_));
}

std::span<std::byte> SharedArea::Slots(uint32_t queue) const {
  return Pages(FirstPage(queue) + DirectoryPages(shape_) + RingPages(shape_), shape_.slots);
}

uint32_t SharedArea::DirectoryRef(uint32_t queue) const { return RefOfPage(FirstPage(queue)); }

}  // namespace tmem::client
