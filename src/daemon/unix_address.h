// The address of a Unix socket with a path.
#ifndef TMEM_DAEMON_UNIX_ADDRESS_H_
#define TMEM_DAEMON_UNIX_ADDRESS_H_

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <string>

#include "base/result.h"

namespace tmem::daemon {

class UnixAddress {
 public:
  // kInvalid if the path does not fit.
  static Result<UnixAddress> Of(const std::string& path) {
    UnixAddress address;
    if (path.size() >= sizeof(address.address_.sun_path)) {
      return Fail(ErrorCode::kInvalid, fmt::format("{}: longer than the {} bytes that a socket's "
                                                   "path may have",
                                                   path, sizeof(address.address_.sun_path) - 1));
    }
    address.address_.sun_family = AF_UNIX;
    std::memcpy(address.address_.sun_path, path.c_str(), path.size() + 1);
    return address;
  }

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address_); }
  socklen_t size() const { return sizeof(address_); }

 private:
  sockaddr_un address_{};
};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_UNIX_ADDRESS_H_
