// A range of addresses that the store keeps things in: memory of this process, or a file that
// outlives it.
//
// All addresses are reserved at once; memory comes as it is asked for. A file lies on a tmpfs,
// where memory that is written to without being asked for first kills the process (SIGBUS) when the
// file system is full: nothing in a Region may be touched before Provide() or Grow() covered it.
//
// Not thread-safe as such, but calls on different parts may run in parallel.
#ifndef TMEM_POOLS_REGION_H_
#define TMEM_POOLS_REGION_H_

#include <cstddef>
#include <string>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"

namespace tmem {

class Region {
 public:
  // Zeros of this process. kExhausted if the address space cannot be had.
  static Result<Region> Anonymous(size_t bytes);
  // The file of that name in a folder, made if need be; `bytes` is how much of it can be addressed,
  // not its size. What lies beyond the file's end cannot be touched before Grow().
  static Result<Region> OfFile(int folder, const std::string& name, size_t bytes);

  Region(Region&& other) noexcept
      : file_(std::move(other.file_)),
        base_(std::exchange(other.base_, nullptr)),
        bytes_(other.bytes_) {}
  Region& operator=(Region&&) = delete;
  ~Region();

  std::byte* base() const { return base_; }
  size_t bytes() const { return bytes_; }
  bool outlives_process() const { return static_cast<bool>(file_); }

  // How far the file reaches; bytes() if there is none.
  size_t Size() const;
  // Makes the first `size` bytes usable, new ones as zeros. False if there is no memory for them.
  // REQUIRES: size <= bytes().
  bool Grow(size_t size) const { return Provide(0, size); }
  // The same for any part.
  bool Provide(size_t offset, size_t bytes) const;
  // Returns the part's memory to the system. What it held is gone.
  void Release(size_t offset, size_t bytes) const;

 private:
  Region(UniqueFd file, std::byte* base, size_t bytes)
      : file_(std::move(file)), base_(base), bytes_(bytes) {}

  UniqueFd file_;
  std::byte* base_;
  const size_t bytes_;
};

}  // namespace tmem

#endif  // TMEM_POOLS_REGION_H_
