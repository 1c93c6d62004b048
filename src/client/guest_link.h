// A guest's end of the loopback hypervisor's socket (hypercall/loopback/wire.h): says hello, and
// reads, writes and watches the tree.
//
// Every call waits for its reply, until the deadline given or until the interrupt bell rings; then,
// and whenever the daemon breaks the rules, the link is lost and every call fails with
// kUnavailable.
//
// Not thread-safe.
#ifndef TMEM_CLIENT_GUEST_LINK_H_
#define TMEM_CLIENT_GUEST_LINK_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "base/units.h"
#include "hypercall/loopback/bell.h"
#include "hypercall/loopback/channel.h"
#include "hypercall/loopback/packet.h"
#include "hypercall/transport.h"

namespace tmem::client {

class GuestLink {
 public:
  struct Config {
    std::string socket_path;
    std::string guest_name;
    int memfd = -1;   // stays the caller's
    GuestId domid{};  // that the guest had with a daemon before this one; 0: it is new
  };

  // Connects and says hello. Errors: kNotFound or kUnavailable if nobody listens (now), kDenied by
  // the socket's mode, and whatever the daemon answers to hello. The bell must outlive the link.
  static Result<std::unique_ptr<GuestLink>> Connect(const Config& config, TimePoint deadline,
                                                    const loopback::Bell& interrupt);

  GuestId domid() const { return domid_; }
  // The daemon expected the guest that had config.domid before: nothing of it was dropped.
  bool resumed() const { return resumed_; }
  // Of the hypervisor's life: who meets it again was released in between.
  const Uuid& instance() const { return instance_; }

  // For all calls from now on.
  void SetDeadline(TimePoint deadline) { deadline_ = deadline; }

  Result<std::string> Read(const std::string& path);
  Result<void> Write(const std::string& path, std::string_view value);
  // Events carry the watched path as token.
  Result<void> Watch(const std::string& path);
  Result<void> Unwatch(const std::string& path);

  struct Port {
    EventPort port;
    loopback::GuestEnd channel;
  };
  Result<Port> AllocPort();

  // Waits for the next watch event.
  Result<Directory::WatchEvent> NextEvent();

 private:
  GuestLink(UniqueFd socket, TimePoint deadline, const loopback::Bell& interrupt);

  Result<void> Hello(const Config& config);
  // Sends the request and waits for its reply, whose payload it returns. Descriptors that
  // came with the reply are left in the receiver.
  Result<std::string> Call(loopback::MessageType type, std::string payload, int descriptor = -1);
  Result<void> SendRequest(const loopback::Packet& request);
  // Waits for a packet; keeps it in the receiver.
  Result<void> ReceivePacket();
  // Waits until the socket is ready for `events`.
  Result<void> AwaitSocket(short events);
  std::unexpected<Error> Lose(std::string_view why);

  UniqueFd socket_;
  TimePoint deadline_;
  const loopback::Bell& interrupt_;
  const SteadyClock clock_;
  loopback::Receiver receiver_;
  std::deque<Directory::WatchEvent> events_;
  uint32_t last_request_ = 0;
  GuestId domid_;
  bool resumed_ = false;
  Uuid instance_;
};

}  // namespace tmem::client

#endif  // TMEM_CLIENT_GUEST_LINK_H_
