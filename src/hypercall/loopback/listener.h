// The socket file of the loopback hypervisor: made, listened on, and removed.
//
// Not thread-safe.
#ifndef TMEM_HYPERCALL_LOOPBACK_LISTENER_H_
#define TMEM_HYPERCALL_LOOPBACK_LISTENER_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"

namespace tmem::loopback {

class Listener {
 public:
  // As LoopbackHypervisor::Create. Whatever is at the path and is no socket stays: kExists.
  static Result<Listener> Create(const std::string& path, mode_t mode);
  // Removes the socket file, if it is still ours.
  ~Listener();
  Listener(Listener&&) noexcept = default;
  Listener& operator=(Listener&&) noexcept = default;

  int fd() const { return socket_.get(); }  // readable when someone connects
  // The next connection, non-blocking; empty if none waits or none can be had now.
  UniqueFd Accept();

 private:
  Listener(UniqueFd socket, std::string path)
      : socket_(std::move(socket)), path_(std::move(path)) {}

  UniqueFd socket_;
  std::string path_;
  std::optional<std::pair<dev_t, ino_t>> file_;
};

// Connects to a socket file. kNotFound: no such file; kUnavailable: nobody listens; kDenied.
Result<UniqueFd> ConnectTo(const std::string& path);

}  // namespace tmem::loopback

#endif  // TMEM_HYPERCALL_LOOPBACK_LISTENER_H_
