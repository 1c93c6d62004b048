#include "hypercall/loopback/channel.h"

#include <sys/socket.h>

#include <cerrno>

namespace tmem::loopback {

namespace {

// More than the kernel queues by default (net.unix.max_dgram_qlen, 10).
constexpr int kNotificationsPerTake = 16;

}  // namespace

void SendNotification(int socket) {
  const char byte = 0;
  // A full queue means that one waits already. Everything else means that nobody is there.
  while (::send(socket, &byte, sizeof(byte), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
}

void TakeNotifications(int socket) {
  char byte;
  for (int i = 0; i < kNotificationsPerTake; ++i) {
    if (::recv(socket, &byte, sizeof(byte), MSG_DONTWAIT) < 0 && errno != EINTR) return;
  }
}

class Port::Channel final : public EventChannel {
 public:
  explicit Channel(std::shared_ptr<Port> port) : port_(std::move(port)) {}
  // Release: pairs with the acquire in Bind, so that one user follows the other.
  ~Channel() override { port_->bound_.store(false, std::memory_order_release); }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  int fd() const override { return port_->socket_.get(); }
  void Acknowledge() override { TakeNotifications(fd()); }
  void Notify() override { SendNotification(fd()); }

 private:
  const std::shared_ptr<Port> port_;
};

Result<Port::Pair> Port::Create() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return std::unexpected(SystemError("cannot create a notification channel"));
  }
  UniqueFd ours(ends[0]);
  UniqueFd guests(ends[1]);
  return Pair{std::shared_ptr<Port>(new Port(std::move(ours))), std::move(guests)};
}

Result<std::unique_ptr<EventChannel>> Port::Bind() {
  if (bound_.exchange(true, std::memory_order_acquire)) {
    return Fail(ErrorCode::kUnavailable, "the port is bound");
  }
  return std::make_unique<Channel>(shared_from_this());
}

}  // namespace tmem::loopback
