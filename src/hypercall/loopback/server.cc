#include "hypercall/loopback/server.h"

#include <pthread.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <utility>
#include <vector>

#include "hypercall/loopback/wire.h"

namespace tmem::loopback {

namespace {

// What epoll tells of; peers have the numbers above.
constexpr uint64_t kListenerKey = 0;
constexpr uint64_t kBellKey = 1;
constexpr uint64_t kStopKey = 2;
constexpr uint64_t kFirstPeerKey = 3;

constexpr int kEventsPerRound = 64;
constexpr int kListenAgainMs = 500;  // after running out of descriptors

bool Control(const UniqueFd& epoll, int operation, int fd, uint64_t key, uint32_t events) {
  epoll_event event{.events = events, .data = {.u64 = key}};
  return ::epoll_ctl(epoll.get(), operation, fd, &event) == 0;
}

}  // namespace

Result<std::unique_ptr<Server>> Server::Create(Listener listener, Realm& realm, const Bell& bell) {
  auto stop = Bell::Create();
  if (!stop) return std::unexpected(std::move(stop).error());
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll || !Control(epoll, EPOLL_CTL_ADD, listener.fd(), kListenerKey, EPOLLIN) ||
      !Control(epoll, EPOLL_CTL_ADD, bell.fd(), kBellKey, EPOLLIN) ||
      !Control(epoll, EPOLL_CTL_ADD, stop->fd(), kStopKey, EPOLLIN)) {
    return std::unexpected(SystemError("cannot set up epoll"));
  }
  return std::unique_ptr<Server>(
      new Server(std::move(listener), realm, bell, *std::move(stop), std::move(epoll)));
}

void Server::Start() {
  // Signals are the process's business: this thread, which inherits the mask, takes none.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { Run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Server::Server(Listener listener, Realm& realm, const Bell& bell, Bell stop, UniqueFd epoll)
    : listener_(std::move(listener)),
      realm_(realm),
      bell_(bell),
      stop_(std::move(stop)),
      epoll_(std::move(epoll)),
      next_peer_(kFirstPeerKey) {}

Server::~Server() {
  stop_.Ring();
  if (thread_.joinable()) thread_.join();
}

void Server::Run() {
  std::array<epoll_event, kEventsPerRound> events;
  while (true) {
    const int timeout_ms = Timeout();
    const int count = ::epoll_wait(epoll_.get(), events.data(), kEventsPerRound, timeout_ms);
    if (count == 0) Listen(true);
    overdue_at_ = realm_.ReleaseOverdue(clock_.Now());
    bool rung = false;
    for (int i = 0; i < count; ++i) {
      const uint64_t key = events[static_cast<size_t>(i)].data.u64;
      if (key == kStopKey) {
        peers_.clear();
        return;
      }
      if (key == kListenerKey) {
        Accept();
      } else if (key == kBellKey) {
        rung = true;
      } else if (const auto peer = peers_.find(key); peer != peers_.end()) {
        ServePeer(peer);
      }
    }
    if (!rung) continue;
    bell_.Silence();
    // By key: serving one may close any other.
    uint64_t key = 0;
    for (auto peer = peers_.begin(); peer != peers_.end(); peer = peers_.upper_bound(key)) {
      key = peer->first;
      ServePeer(peer);
    }
  }
}

int Server::Timeout() const {
  constexpr int64_t kLongest = 60'000;
  int64_t timeout = listening_ ? -1 : kListenAgainMs;
  if (overdue_at_ != TimePoint::max()) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(overdue_at_ - clock_.Now()).count();
    const int64_t wait = std::clamp<int64_t>(left, 0, kLongest);
    timeout = timeout < 0 ? wait : std::min(timeout, wait);
  }
  return static_cast<int>(timeout);
}

void Server::Accept() {
  UniqueFd socket = listener_.Accept();
  if (!socket) {
    // Out of descriptors: the connection keeps waiting, and epoll would tell of it for ever.
    if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) Listen(false);
    return;
  }
  if (peers_.size() >= kMaxConnections) EvictStranger();
  if (peers_.size() >= kMaxConnections) return;
  const uint64_t key = next_peer_++;
  if (!Control(epoll_, EPOLL_CTL_ADD, socket.get(), key, EPOLLIN)) return;
  peers_[key].session = std::make_unique<Session>(
      std::move(socket), realm_, [this](std::string_view name) { return EvictDead(name); });
}

void Server::Listen(bool on) {
  if (listening_ == on) return;
  listening_ = on;
  Control(epoll_, EPOLL_CTL_MOD, listener_.fd(), kListenerKey, on ? uint32_t{EPOLLIN} : 0);
}

void Server::ServePeer(Peers::iterator peer) {
  Session& session = *peer->second.session;
  if (!session.Serve()) {
    Close(peer);
    return;
  }
  const bool waits = session.output_waits();
  if (waits == peer->second.waits_for_output) return;
  peer->second.waits_for_output = waits;
  Control(epoll_, EPOLL_CTL_MOD, session.socket(), peer->first, waits ? EPOLLOUT : EPOLLIN);
}

void Server::Close(Peers::iterator peer) { peers_.erase(peer); }

bool Server::EvictDead(std::string_view name) {
  for (auto peer = peers_.begin(); peer != peers_.end(); ++peer) {
    const Session& session = *peer->second.session;
    if (session.introduced() && session.name() == name && session.PeerIsGone()) {
      Close(peer);
      return true;
    }
  }
  return false;
}

void Server::EvictStranger() {
  // Keys rise: the first is who took longest to say hello.
  for (auto peer = peers_.begin(); peer != peers_.end(); ++peer) {
    if (!peer->second.session->introduced()) {
      Close(peer);
      return;
    }
  }
}

}  // namespace tmem::loopback
