#include "hypercall/loopback/channel.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

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

void Ring(int eventfd) {
  const uint64_t one = 1;
  // A full counter means that one waits already. The daemon makes it non-blocking.
  while (::write(eventfd, &one, sizeof(one)) < 0 && errno == EINTR) {
  }
}

void Silence(int eventfd) {
  uint64_t count = 0;
  iovec part{&count, sizeof(count)};
  // RWF_NOWAIT: whoever shares the open file may have switched it to blocking.
  while (::preadv2(eventfd, &part, 1, /*offset=*/-1, RWF_NOWAIT) < 0 && errno == EINTR) {
  }
}

class Port::Channel final : public EventChannel {
 public:
  explicit Channel(std::shared_ptr<Port> port) : port_(std::move(port)) {}
  // Release: pairs with the acquire in Bind, so that one user follows the other.
  ~Channel() override { port_->bound_.store(false, std::memory_order_release); }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  int fd() const override { return port_->eventfd_.get(); }
  void Acknowledge() override { Silence(port_->eventfd_.get()); }
  void Notify() override { SendNotification(port_->socket_.get()); }

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
  UniqueFd bell(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!bell) return std::unexpected(SystemError("cannot create a notification channel"));
  UniqueFd guests_bell(::fcntl(bell.get(), F_DUPFD_CLOEXEC, 0));
  if (!guests_bell || ::shutdown(ours.get(), SHUT_RD) != 0) {
    return std::unexpected(SystemError("cannot create a notification channel"));
  }
  return Pair{std::shared_ptr<Port>(new Port(std::move(ours), std::move(bell))),
              GuestEnd{std::move(guests), std::move(guests_bell)}};
}

Result<std::unique_ptr<EventChannel>> Port::Bind() {
  if (bound_.exchange(true, std::memory_order_acquire)) {
    return Fail(ErrorCode::kUnavailable, "the port is bound");
  }
  return std::make_unique<Channel>(shared_from_this());
}

}  // namespace tmem::loopback
