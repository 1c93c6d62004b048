// One guest's socket at the server: reads requests, executes them with the guest's rights, sends
// replies and watch events.
//
// Nothing is queued for a guest that does not read: while one packet waits to be sent, no request
// is taken and no event is fetched, so a guest can only make itself wait.
//
// Threads: the server's only.
#ifndef TMEM_HYPERCALL_LOOPBACK_SESSION_H_
#define TMEM_HYPERCALL_LOOPBACK_SESSION_H_

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "base/units.h"
#include "hypercall/loopback/packet.h"
#include "hypercall/loopback/realm.h"

namespace tmem::loopback {

class Session {
 public:
  // Called when the guest's name is taken: ends the session of that name if its peer is gone
  // already. True if it did.
  using EvictDead = std::function<bool(std::string_view name)>;

  // The realm must outlive the session.
  Session(UniqueFd socket, Realm& realm, EvictDead evict_dead);
  // Releases the guest.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Does what can be done now without blocking, a bounded part of it. False when the session is
  // over.
  bool Serve();

  int socket() const { return socket_.get(); }
  // Waits for the guest to read, rather than to write.
  bool output_waits() const { return output_.has_value(); }
  bool introduced() const { return guest_.has_value(); }
  const std::string& name() const { return name_; }
  // The peer hung up, whether or not Serve noticed.
  bool PeerIsGone() const;

 private:
  struct Answer {
    std::string payload;
    std::vector<UniqueFd> descriptors{};
  };

  // Sends what waits and then the events. False when the session is over.
  bool Flush();
  bool HandlePacket();
  Result<Answer> Execute(std::string_view payload);
  Result<std::string> ExecuteOnTree(std::string_view payload);
  Result<Answer> Hello(std::string_view payload);
  Result<Answer> List(const std::string& path);
  Result<Answer> AllocPort();

  const UniqueFd socket_;
  Realm& realm_;
  const EvictDead evict_dead_;
  Receiver receiver_;
  std::optional<GuestId> guest_;
  std::string name_;
  std::optional<Packet> output_;              // did not fit the socket
  std::vector<UniqueFd> output_descriptors_;  // what output_ carries
};

}  // namespace tmem::loopback

#endif  // TMEM_HYPERCALL_LOOPBACK_SESSION_H_
