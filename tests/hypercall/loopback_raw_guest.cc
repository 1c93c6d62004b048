#include "hypercall/loopback_raw_guest.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "hypercall/loopback/packet.h"

namespace tmem::loopback {

UniqueFd MakeMemfd(size_t pages, int seals) {
  UniqueFd memfd(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (::ftruncate(memfd.get(), static_cast<off_t>(pages * 4096)) != 0) return {};
  if (seals != 0 && ::fcntl(memfd.get(), F_ADD_SEALS, seals) != 0) return {};
  return memfd;
}

UniqueFd MakeGoodMemfd(size_t pages) { return MakeMemfd(pages, F_SEAL_SHRINK | F_SEAL_GROW); }

bool IsReadable(int fd) {
  pollfd wait{fd, POLLIN, 0};
  return ::poll(&wait, 1, 0) == 1;
}

bool AwaitReadable(int fd) {
  pollfd wait{fd, POLLIN, 0};
  return ::poll(&wait, 1, kPatienceMs) == 1;
}

RawGuest::RawGuest(const std::string& socket_path)
    : socket_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket_path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    socket_.Reset();
  }
}

bool RawGuest::SendBytes(std::string_view bytes, std::span<const int> descriptors) {
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  std::vector<char> control(CMSG_SPACE(descriptors.size_bytes()));
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(c), descriptors.data(), descriptors.size_bytes());
  }
  return ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL) >= 0;
}

bool RawGuest::TrySendBytes(std::string_view bytes) {
  return ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

std::optional<RawGuest::Answer> RawGuest::Receive() {
  Receiver receiver;
  while (AwaitReadable(socket_.get())) {
    switch (receiver.Receive(socket_.get(), kMaxDescriptors)) {
      case Transfer::kDone: {
        Answer answer{receiver.header(), std::string(receiver.payload()), {}};
        while (UniqueFd descriptor = receiver.TakeDescriptor()) {
          answer.descriptors.push_back(std::move(descriptor));
        }
        return answer;
      }
      case Transfer::kWouldBlock:
        break;
      case Transfer::kClosed:
      case Transfer::kBroken:
        return std::nullopt;
    }
  }
  return std::nullopt;
}

bool RawGuest::AwaitClosed() {
  while (AwaitReadable(socket_.get())) {
    char bytes[kMaxPacket];
    if (::recv(socket_.get(), bytes, sizeof(bytes), 0) <= 0) return true;
  }
  return false;
}

std::string RawGuest::Packet(MessageType type, uint32_t request, std::string_view payload) {
  std::string packet = Encode(
      Header{.type = type, .request = request, .length = static_cast<uint32_t>(payload.size())});
  packet += payload;
  return packet;
}

std::string RawGuest::HelloPayload(std::string_view name) {
  std::string payload = Encode(loopback::Hello{});
  payload += name;
  return payload;
}

std::optional<RawGuest::Answer> RawGuest::HelloWith(std::string_view name, int memfd) {
  const int descriptors[] = {memfd};
  SendBytes(Packet(MessageType::kHello, ++last_request_, HelloPayload(name)),
            memfd >= 0 ? std::span<const int>(descriptors) : std::span<const int>());
  return Receive();
}

std::optional<uint16_t> RawGuest::Hello(std::string_view name) {
  const UniqueFd memfd = MakeGoodMemfd();
  const auto answer = HelloWith(name, memfd.get());
  HelloReply reply;
  if (!answer || answer->header.error != 0 || !Decode(answer->payload, reply)) return std::nullopt;
  return static_cast<uint16_t>(reply.domid);
}

std::optional<uint16_t> RawGuest::HelloAgain(std::string_view name, uint16_t domid) {
  const UniqueFd memfd = MakeGoodMemfd();
  const int descriptors[] = {memfd.get()};
  std::string payload = Encode(loopback::Hello{.domid = domid});
  payload += name;
  SendBytes(Packet(MessageType::kHello, ++last_request_, payload), descriptors);
  const auto answer = Receive();
  HelloReply reply;
  if (!answer || answer->header.error != 0 || !Decode(answer->payload, reply)) return std::nullopt;
  return reply.resumed == 1 ? std::optional(static_cast<uint16_t>(reply.domid)) : std::nullopt;
}

std::optional<RawGuest::Answer> RawGuest::Call(MessageType type, std::string_view payload) {
  if (!SendBytes(Packet(type, ++last_request_, payload))) return std::nullopt;
  while (auto answer = Receive()) {
    if (answer->header.type == MessageType::kReply) return answer;
    events_.emplace_back(Split(answer->payload).first);
  }
  return std::nullopt;
}

int RawGuest::Error(MessageType type, std::string_view payload) {
  const auto answer = Call(type, payload);
  return answer ? answer->header.error : -1;
}

std::optional<std::string> RawGuest::NextEvent() {
  if (events_.empty()) {
    const auto event = Receive();
    if (!event || event->header.type != MessageType::kWatchEvent) return std::nullopt;
    return std::string(Split(event->payload).first);
  }
  std::string path = std::move(events_.front());
  events_.erase(events_.begin());
  return path;
}

}  // namespace tmem::loopback
