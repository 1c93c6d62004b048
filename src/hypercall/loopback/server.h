// Serves the loopback hypervisor's socket in a thread of its own: accepts guests and lets their
// sessions work, each a little in its turn.
//
// Threads: constructed and destroyed by the control thread.
#ifndef TMEM_HYPERCALL_LOOPBACK_SERVER_H_
#define TMEM_HYPERCALL_LOOPBACK_SERVER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string_view>
#include <thread>

#include "base/clock.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "hypercall/loopback/listener.h"
#include "hypercall/loopback/realm.h"
#include "hypercall/loopback/session.h"

namespace tmem::loopback {

class Server {
 public:
  // `bell` rings when a guest has watch events. Realm and bell outlive the server.
  static Result<std::unique_ptr<Server>> Create(Listener listener, Realm& realm, const Bell& bell);
  // Lets guests in; until then they wait at the socket. Once.
  void Start();
  // Ends every session and the thread.
  ~Server();

 private:
  struct Peer {
    std::unique_ptr<Session> session;
    bool waits_for_output = false;  // what epoll was told
  };
  using Peers = std::map<uint64_t, Peer>;

  Server(Listener listener, Realm& realm, const Bell& bell, Bell stop, UniqueFd epoll);

  void Run();
  int Timeout() const;  // of the next wait, in ms
  void Accept();
  void Listen(bool on);
  void ServePeer(Peers::iterator peer);
  void Close(Peers::iterator peer);
  bool EvictDead(std::string_view name);
  void EvictStranger();

  Listener listener_;
  Realm& realm_;
  const Bell& bell_;
  const Bell stop_;
  const UniqueFd epoll_;
  std::thread thread_;

  // The thread's own.
  Peers peers_;
  uint64_t next_peer_;
  bool listening_ = true;
  TimePoint overdue_at_ = TimePoint::max();  // when guests that are expected are late
  const SteadyClock clock_;
};

}  // namespace tmem::loopback

#endif  // TMEM_HYPERCALL_LOOPBACK_SERVER_H_
