#include "hypercall/loopback/bell.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace tmem::loopback {

Result<Bell> Bell::Create() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) return std::unexpected(SystemError("cannot create an eventfd"));
  return Bell(std::move(fd));
}

void Bell::Ring() const {
  const uint64_t one = 1;
  // Full means rung.
  while (::write(fd(), &one, sizeof(one)) < 0 && errno == EINTR) {
  }
}

void Bell::Silence() const {
  uint64_t count;
  while (::read(fd(), &count, sizeof(count)) < 0 && errno == EINTR) {
  }
}

}  // namespace tmem::loopback
