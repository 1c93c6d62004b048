#include "client/guest_link.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "hypercall/loopback/listener.h"

namespace tmem::client {

namespace {

using loopback::MessageType;
using loopback::Packet;
using loopback::Receiver;
using loopback::Transfer;

// Watch events of a daemon that sends no reply: the tree folds events, so many are no accident.
constexpr size_t kMaxWaitingEvents = 4096;

constexpr int kLongestPollMs = 60'000;

Result<void> Silent(const Result<std::string>& text) {
  if (!text) return std::unexpected(text.error());
  return {};
}

}  // namespace

GuestLink::GuestLink(UniqueFd socket, TimePoint deadline, const loopback::Bell& interrupt)
    : socket_(std::move(socket)), deadline_(deadline), interrupt_(interrupt) {}

Result<std::unique_ptr<GuestLink>> GuestLink::Connect(const Config& config, TimePoint deadline,
                                                      const loopback::Bell& interrupt) {
  auto socket = loopback::ConnectTo(config.socket_path);
  if (!socket) return std::unexpected(std::move(socket).error());
  std::unique_ptr<GuestLink> link(new GuestLink(*std::move(socket), deadline, interrupt));
  TMEM_TRY(link->Hello(config));
  return link;
}

Result<void> GuestLink::Hello(const Config& config) {
  auto payload = loopback::Encode(loopback::Hello{.domid = config.domid.value});
  payload += config.guest_name;
  const auto answer = Call(MessageType::kHello, std::move(payload), config.memfd);
  if (!answer) return std::unexpected(answer.error());
  loopback::HelloReply reply;
  if (!loopback::Decode(*answer, reply) || reply.domid == 0 || reply.domid > loopback::kMaxDomid) {
    return Lose("answered hello with nonsense");
  }
  domid_ = GuestId{static_cast<uint16_t>(reply.domid)};
  resumed_ = reply.resumed == 1 && domid_ == config.domid;
  instance_ = Uuid{{reply.instance[0], reply.instance[1]}};
  return {};
}

Result<std::string> GuestLink::Read(const std::string& path) {
  return Call(MessageType::kRead, path);
}

Result<void> GuestLink::Write(const std::string& path, std::string_view value) {
  return Silent(Call(MessageType::kWrite, loopback::Join(path, value)));
}

Result<void> GuestLink::Watch(const std::string& path) {
  // The token is of no use here, and its length is limited: events are told apart by their paths.
  return Silent(Call(MessageType::kWatch, loopback::Join(path, "")));
}

Result<void> GuestLink::Unwatch(const std::string& path) {
  return Silent(Call(MessageType::kUnwatch, loopback::Join(path, "")));
}

Result<GuestLink::Port> GuestLink::AllocPort() {
  const auto answer = Call(MessageType::kAllocPort, "");
  if (!answer) return std::unexpected(answer.error());
  loopback::AllocPortReply reply;
  loopback::GuestEnd channel;
  channel.inbound = receiver_.TakeDescriptor();
  channel.outbound = receiver_.TakeDescriptor();
  if (!loopback::Decode(*answer, reply) || !channel.outbound)
    return Lose("allocated no event channel");
  return Port{EventPort{reply.port}, std::move(channel)};
}

Result<Directory::WatchEvent> GuestLink::NextEvent() {
  while (events_.empty()) {
    TMEM_TRY(ReceivePacket());
    if (receiver_.header().type == MessageType::kReply) return Lose("answered what nobody asked");
  }
  Directory::WatchEvent event = std::move(events_.front());
  events_.pop_front();
  return event;
}

Result<std::string> GuestLink::Call(MessageType type, std::string payload, int descriptor) {
  const uint32_t number = ++last_request_;
  Packet request{{.type = type, .request = number}, std::move(payload)};
  if (descriptor >= 0) request.descriptors.push_back(descriptor);
  TMEM_TRY(SendRequest(request));
  do {
    TMEM_TRY(ReceivePacket());
  } while (receiver_.header().type != MessageType::kReply);
  if (receiver_.header().request != number) return Lose("answered out of order");
  std::string answer(receiver_.payload());
  const uint16_t error = receiver_.header().error;
  if (error != 0) return Fail(loopback::CodeOf(error), std::move(answer));
  return answer;
}

Result<void> GuestLink::SendRequest(const Packet& request) {
  if (!socket_) return Lose("closed the connection");
  while (true) {
    switch (loopback::Send(socket_.get(), request)) {
      case Transfer::kDone:
        return {};
      case Transfer::kWouldBlock:
        TMEM_TRY(AwaitSocket(POLLOUT));
        break;
      case Transfer::kClosed:
      case Transfer::kBroken:
        return Lose("closed the connection");
    }
  }
}

Result<void> GuestLink::ReceivePacket() {
  if (!socket_) return Lose("closed the connection");
  while (true) {
    switch (receiver_.Receive(socket_.get(), loopback::kMaxDescriptors)) {
      case Transfer::kWouldBlock:
        TMEM_TRY(AwaitSocket(POLLIN));
        continue;
      case Transfer::kClosed:
        return Lose("closed the connection");
      case Transfer::kBroken:
        return Lose("sent a malformed message");
      case Transfer::kDone:
        break;
    }
    if (receiver_.header().type == MessageType::kReply) return {};
    const loopback::SplitPayload split = loopback::Split(receiver_.payload());
    if (receiver_.header().type != MessageType::kWatchEvent || !split.found ||
        events_.size() >= kMaxWaitingEvents) {
      return Lose("sent a message out of place");
    }
    events_.push_back({std::string(split.first), std::string(split.second)});
    return {};
  }
}

Result<void> GuestLink::AwaitSocket(short events) {
  while (true) {
    const auto left = deadline_ - clock_.Now();
    if (left <= Duration::zero()) return Lose("does not answer");
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
    pollfd waits[] = {{socket_.get(), events, 0}, {interrupt_.fd(), POLLIN, 0}};
    const int timeout = static_cast<int>(std::min<int64_t>(ms, kLongestPollMs));
    if (::poll(waits, 2, timeout) < 0 && errno != EINTR) return Lose("cannot be polled");
    if (waits[1].revents != 0) return Lose("is not waited for any more");
    if (waits[0].revents != 0) return {};
  }
}

std::unexpected<Error> GuestLink::Lose(std::string_view why) {
  socket_.Reset();
  return Fail(ErrorCode::kUnavailable, fmt::format("the daemon {}", why));
}

}  // namespace tmem::client
