// Memory that ends exactly where it says: its last byte lies before an unmapped page.
//
// The codecs come from shared libraries that no sanitizer instruments. One byte read or written
// beyond the end faults here whatever the build; so does one before the start if `size` is a
// multiple of the page size.
#ifndef TMEM_TESTS_COMPRESS_GUARDED_BYTES_H_
#define TMEM_TESTS_COMPRESS_GUARDED_BYTES_H_

#include <cstddef>
#include <span>

#include "base/units.h"

namespace tmem {

class GuardedBytes {
 public:
  explicit GuardedBytes(size_t size);
  explicit GuardedBytes(std::span<const std::byte> content);
  ~GuardedBytes();
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;

  std::span<std::byte> bytes() const { return bytes_; }
  // REQUIRES: made with kPageSize bytes.
  MutablePageView page() const { return bytes_.first<kPageSize>(); }

 private:
  std::span<std::byte> mapping_;
  std::span<std::byte> bytes_;
};

}  // namespace tmem

#endif  // TMEM_TESTS_COMPRESS_GUARDED_BYTES_H_
