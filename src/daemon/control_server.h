// The control socket: many clients, none of which can hold up the daemon.
//
// Nothing here blocks. A client has at most one request in work: while its answer waits to be
// read, no more is read from it. At most kMaxClients are connected; one more takes the place of
// the client that has been silent for longest, so that idle connections lock nobody out.
//
// Threads: the control thread.
#ifndef TMEM_DAEMON_CONTROL_SERVER_H_
#define TMEM_DAEMON_CONTROL_SERVER_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "daemon/control_handler.h"
#include "daemon/instance_lock.h"

namespace tmem::daemon {

inline constexpr size_t kMaxClients = 64;

class ControlServer {
 public:
  // Listens. kExists if another tmemd serves this path; a socket file that a dead one left is
  // replaced. `handler` must outlive the server.
  static Result<std::unique_ptr<ControlServer>> Create(const std::string& path, mode_t mode,
                                                       ControlHandler& handler);
  ~ControlServer();  // closes all connections, removes the socket file

  // Readable when HandleEvents has something to do.
  int fd() const { return epoll_.get(); }
  // Does a bounded piece of work: one request of each client that is ready, at most.
  void HandleEvents();

  size_t clients() const { return clients_.size(); }

 private:
  struct Client {
    UniqueFd fd;
    std::string input;        // received, not yet executed
    std::string output;       // the answer under way
    size_t sent = 0;          // bytes of it
    bool last = false;        // close after this answer
    bool finished = false;    // the client sends no more
    uint64_t last_event = 0;  // order of its last sign of life
    uint32_t interest = 0;
  };

  ControlServer(std::string path, InstanceLock lock, UniqueFd listener, UniqueFd epoll,
                ControlHandler& handler);

  void Accept();
  void AcceptNone();
  void DropSilent();
  void Serve(Client& client);
  bool Send(Client& client);
  bool Receive(Client& client);
  void ExecuteOne(Client& client);
  void Watch(Client& client);
  void Drop(const Client& client);

  const std::string path_;
  const InstanceLock lock_;
  const UniqueFd listener_;
  const UniqueFd epoll_;
  UniqueFd spare_;  // given up to turn a client away when there are no more descriptors
  ControlHandler& handler_;
  std::map<int, Client> clients_;  // by descriptor
  uint64_t events_ = 0;
};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_CONTROL_SERVER_H_
