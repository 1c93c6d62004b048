// The daemon's ends of the notification channels; wire.h says what a channel is and why.
#ifndef TMEM_HYPERCALL_LOOPBACK_CHANNEL_H_
#define TMEM_HYPERCALL_LOOPBACK_CHANNEL_H_

#include <atomic>
#include <memory>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"
#include "hypercall/transport.h"

namespace tmem::loopback {

// To the guest, over the socket pair. One notification; nobody hears it if the guest is gone.
void SendNotification(int socket);
// Takes the notifications that wait; a bounded number, so the socket may stay readable.
void TakeNotifications(int socket);
// To the daemon, over the eventfd.
void Ring(int eventfd);
// Takes all rings.
void Silence(int eventfd);
// None of these blocks, whatever the other side does.

// What a guest gets of a channel.
struct GuestEnd {
  UniqueFd inbound;   // the socket: readable when the daemon notified
  UniqueFd outbound;  // the eventfd: notifies the daemon
};

// A port: our end of a channel, bound by at most one EventChannel at a time. Lives as long as the
// guest or the channel, whichever is longer.
class Port : public std::enable_shared_from_this<Port> {
 public:
  struct Pair {
    std::shared_ptr<Port> port;
    GuestEnd guest_end;
  };
  static Result<Pair> Create();

  // kUnavailable while bound.
  Result<std::unique_ptr<EventChannel>> Bind();

 private:
  class Channel;
  Port(UniqueFd socket, UniqueFd eventfd)
      : socket_(std::move(socket)), eventfd_(std::move(eventfd)) {}

  const UniqueFd socket_;   // to the guest
  const UniqueFd eventfd_;  // from the guest, who shares it
  std::atomic<bool> bound_{false};
};

}  // namespace tmem::loopback

#endif  // TMEM_HYPERCALL_LOOPBACK_CHANNEL_H_
