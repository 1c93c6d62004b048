#include "daemon/control_server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "daemon/control_protocol.h"
#include "daemon/unix_address.h"

namespace tmem::daemon {

namespace {

constexpr int kBacklog = 64;
constexpr int kEventsAtOnce = 64;
constexpr int kAcceptsAtOnce = 16;
constexpr size_t kReadBytes = 16 << 10;

// REQUIRES: we hold the lock, so that a socket which is there belongs to nobody.
Result<void> RemoveStale(const std::string& path) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) return {};  // bind() will tell what else is wrong
  if (!S_ISSOCK(status.st_mode)) {
    return Fail(ErrorCode::kInvalid, fmt::format("{}: there is a file that is no socket; remove it "
                                                 "or set control.socket to another path",
                                                 path));
  }
  ::unlink(path.c_str());
  return {};
}

Result<UniqueFd> Listen(const std::string& path, mode_t mode) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return std::unexpected(SystemError("socket"));
  const auto address = UnixAddress::Of(path);
  if (!address) return std::unexpected(address.error());
  TMEM_TRY(RemoveStale(path));
  // The mode is set before listen(), until which nobody can connect.
  if (::bind(fd.get(), address->get(), address->size()) != 0 || ::chmod(path.c_str(), mode) != 0 ||
      ::listen(fd.get(), kBacklog) != 0) {
    return std::unexpected(SystemError(path));
  }
  return fd;
}

UniqueFd OpenSpare() { return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::Create(const std::string& path, mode_t mode,
                                                             ControlHandler& handler) {
  auto lock = InstanceLock::Take(path + ".lock");
  if (!lock) return std::unexpected(std::move(lock).error());
  auto listener = Listen(path, mode);
  if (!listener) return std::unexpected(std::move(listener).error());
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return std::unexpected(SystemError("epoll_create1"));
  epoll_event event{.events = EPOLLIN, .data = {.fd = listener->get()}};
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, listener->get(), &event) != 0) {
    return std::unexpected(SystemError("epoll_ctl"));
  }
  return std::unique_ptr<ControlServer>(
      new ControlServer(path, std::move(*lock), std::move(*listener), std::move(epoll), handler));
}

ControlServer::ControlServer(std::string path, InstanceLock lock, UniqueFd listener, UniqueFd epoll,
                             ControlHandler& handler)
    : path_(std::move(path)),
      lock_(std::move(lock)),
      listener_(std::move(listener)),
      epoll_(std::move(epoll)),
      spare_(OpenSpare()),
      handler_(handler) {}

ControlServer::~ControlServer() { ::unlink(path_.c_str()); }

void ControlServer::HandleEvents() {
  std::array<epoll_event, kEventsAtOnce> events;
  const int count = ::epoll_wait(epoll_.get(), events.data(), kEventsAtOnce, 0);
  bool arrivals = false;
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    if (event.data.fd == listener_.get()) {
      arrivals = true;
      continue;
    }
    Client& client = clients_.at(event.data.fd);
    client.last_event = ++events_;
    if ((event.events & (EPOLLERR | EPOLLHUP)) != 0) {
      Drop(client);
    } else {
      Serve(client);
    }
  }
  // Last: an arrival can take the place, and the descriptor, of a client in `events`.
  if (arrivals) Accept();
}

void ControlServer::Accept() {
  for (int i = 0; i < kAcceptsAtOnce; ++i) {
    UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) {
      if (errno == EMFILE || errno == ENFILE) AcceptNone();
      return;
    }
    if (clients_.size() >= kMaxClients) DropSilent();
    const int number = fd.get();
    Client& client = clients_[number];
    client.fd = std::move(fd);
    client.last_event = ++events_;
    epoll_event event{.events = EPOLLIN, .data = {.fd = number}};
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, number, &event) != 0) {
      Drop(client);
    } else {
      client.interest = event.events;
    }
  }
}

// Out of descriptors: turns one client away, so that the listener does not stay ready for ever.
void ControlServer::AcceptNone() {
  spare_.Reset();
  UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)).Reset();
  spare_ = OpenSpare();
}

void ControlServer::DropSilent() {
  const auto silent = std::ranges::min_element(
      clients_, {}, [](const auto& entry) { return entry.second.last_event; });
  clients_.erase(silent);
}

void ControlServer::Serve(Client& client) {
  bool alive = Send(client);
  if (alive && client.output.empty() && client.input.find('\n') == std::string::npos) {
    alive = Receive(client);
  }
  if (alive && client.output.empty()) {
    ExecuteOne(client);
    alive = Send(client);
  }
  const bool nothing_left =
      client.output.empty() &&
      (client.last || (client.finished && client.input.find('\n') == std::string::npos));
  if (!alive || nothing_left) return Drop(client);
  Watch(client);
}

// False if the client has gone.
bool ControlServer::Send(Client& client) {
  while (client.sent < client.output.size()) {
    const ssize_t bytes = ::send(client.fd.get(), client.output.data() + client.sent,
                                 client.output.size() - client.sent, MSG_NOSIGNAL);
    if (bytes < 0) return errno == EAGAIN || errno == EINTR;
    client.sent += static_cast<size_t>(bytes);
  }
  client.output.clear();
  client.sent = 0;
  return true;
}

// One read. False if the client has gone.
bool ControlServer::Receive(Client& client) {
  std::array<char, kReadBytes> buffer;
  const ssize_t bytes = ::recv(client.fd.get(), buffer.data(), buffer.size(), 0);
  if (bytes < 0) return errno == EAGAIN || errno == EINTR;
  if (bytes == 0) client.finished = true;
  client.input.append(buffer.data(), static_cast<size_t>(bytes));
  return true;
}

void ControlServer::ExecuteOne(Client& client) {
  const size_t end = client.input.find('\n');
  if (std::min(end, client.input.size()) > kMaxRequestBytes) {
    client.output = ControlHandler::TooLong() + '\n';
    client.last = true;
    client.input.clear();
  } else if (end != std::string::npos) {
    client.output = handler_.Handle(std::string_view(client.input).substr(0, end)) + '\n';
    client.input.erase(0, end + 1);
  }
}

// A client whose next request is here already is woken by its being writable.
void ControlServer::Watch(Client& client) {
  const bool busy = !client.output.empty() || client.input.find('\n') != std::string::npos;
  const uint32_t interest = busy ? EPOLLOUT : EPOLLIN;
  if (interest == client.interest) return;
  epoll_event event{.events = interest, .data = {.fd = client.fd.get()}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, client.fd.get(), &event) != 0) return Drop(client);
  client.interest = interest;
}

void ControlServer::Drop(const Client& client) { clients_.erase(client.fd.get()); }

}  // namespace tmem::daemon
