#include "hypercall/loopback/listener.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

namespace tmem::loopback {

namespace {

constexpr int kBacklog = 64;

Result<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return Fail(ErrorCode::kInvalid, fmt::format("'{}' is no path for a socket: 1 to {} bytes",
                                                 path, sizeof(address.sun_path) - 1));
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

UniqueFd NewSocket() {
  return UniqueFd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

// Makes way for a new socket file, unless something alive or foreign is there.
Result<void> RemoveStale(const std::string& path) {
  struct stat file{};
  if (::lstat(path.c_str(), &file) != 0) {
    if (errno == ENOENT) return {};
    return std::unexpected(SystemError(path));
  }
  if (!S_ISSOCK(file.st_mode)) {
    return Fail(ErrorCode::kExists,
                fmt::format("{} exists and is not a socket; move it or choose another path", path));
  }
  const auto other = ConnectTo(path);
  if (other || other.error().code != ErrorCode::kUnavailable) {
    return Fail(ErrorCode::kExists,
                fmt::format("another process listens on {}; stop it or choose another path", path));
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return std::unexpected(SystemError(path));
  return {};
}

}  // namespace

Result<Listener> Listener::Create(const std::string& path, mode_t mode) {
  const Result<sockaddr_un> address = AddressOf(path);
  if (!address) return std::unexpected(address.error());
  TMEM_TRY(RemoveStale(path));
  UniqueFd socket = NewSocket();
  if (!socket) return std::unexpected(SystemError("cannot create a socket"));
  // The file gets the socket's mode less the umask: never wider than asked, at no moment.
  if (::fchmod(socket.get(), mode) != 0) return std::unexpected(SystemError(path));
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) != 0) {
    return std::unexpected(SystemError(fmt::format("cannot listen on {}", path)));
  }
  Listener listener(std::move(socket), path);
  struct stat file{};
  if (::lstat(path.c_str(), &file) != 0) return std::unexpected(SystemError(path));
  listener.file_ = {file.st_dev, file.st_ino};
  if (::chmod(path.c_str(), mode) != 0) return std::unexpected(SystemError(path));
  if (::listen(listener.fd(), kBacklog) != 0) return std::unexpected(SystemError(path));
  return listener;
}

Listener::~Listener() {
  if (!socket_ || !file_) return;
  struct stat file{};
  if (::lstat(path_.c_str(), &file) != 0) return;
  if (std::pair(file.st_dev, file.st_ino) == *file_) ::unlink(path_.c_str());
}

UniqueFd Listener::Accept() {
  return UniqueFd(::accept4(fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

Result<UniqueFd> ConnectTo(const std::string& path) {
  const Result<sockaddr_un> address = AddressOf(path);
  if (!address) return std::unexpected(address.error());
  UniqueFd socket = NewSocket();
  if (!socket) return std::unexpected(SystemError("cannot create a socket"));
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) !=
      0) {
    return std::unexpected(SystemError(path));
  }
  return socket;
}

}  // namespace tmem::loopback
