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

// One notification. Never blocks; nobody hears it if the other end is gone.
void SendNotification(int socket);
// Takes the notifications that wait; a bounded number, so the socket may stay readable. Never
// blocks.
void TakeNotifications(int socket);

// A port: our end of a channel, bound by at most one EventChannel at a time. Lives as long as the
// guest or the channel, whichever is longer.
class Port : public std::enable_shared_from_this<Port> {
 public:
  struct Pair {
    std::shared_ptr<Port> port;
    UniqueFd guest_end;
  };
  static Result<Pair> Create();

  // kUnavailable while bound.
  Result<std::unique_ptr<EventChannel>> Bind();

 private:
  class Channel;
  explicit Port(UniqueFd socket) : socket_(std::move(socket)) {}

  const UniqueFd socket_;
  std::atomic<bool> bound_{false};
};

}  // namespace tmem::loopback

#endif  // TMEM_HYPERCALL_LOOPBACK_CHANNEL_H_
