#include "hypercall/loopback/packet.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

namespace tmem::loopback {

namespace {

struct CodeNumber {
  ErrorCode code;
  uint16_t number;
};

constexpr CodeNumber kCodeNumbers[] = {
    {ErrorCode::kInvalid, EINVAL},         {ErrorCode::kNotFound, ENOENT},
    {ErrorCode::kExists, EEXIST},          {ErrorCode::kDenied, EACCES},
    {ErrorCode::kExhausted, ENOSPC},       {ErrorCode::kUnavailable, EAGAIN},
    {ErrorCode::kUnsupported, EOPNOTSUPP}, {ErrorCode::kSystem, EIO},
};

Transfer FailedTransfer() {
  // Out of kernel memory for a packet passes like a full queue.
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) return Transfer::kWouldBlock;
  return Transfer::kClosed;
}

// Takes what the control message has; it has no room for more than fit `descriptors`.
void TakeDescriptors(msghdr& message, std::span<UniqueFd> descriptors) {
  const cmsghdr* const c = CMSG_FIRSTHDR(&message);
  if (c == nullptr || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) return;
  const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  for (size_t i = 0; i < count; ++i) {
    int descriptor = -1;
    std::memcpy(&descriptor, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
    descriptors[i].Reset(descriptor);
  }
}

}  // namespace

Transfer Send(int socket, const Packet& packet) {
  Header header = packet.header;
  header.length = static_cast<uint32_t>(packet.payload.size());
  iovec parts[2] = {{&header, sizeof(header)},
                    {const_cast<char*>(packet.payload.data()), packet.payload.size()}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int))] = {};
  if (!packet.descriptors.empty()) {
    const size_t bytes = packet.descriptors.size() * sizeof(int);
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* const c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(bytes);
    std::memcpy(CMSG_DATA(c), packet.descriptors.data(), bytes);
  }
  ssize_t sent;
  do {
    sent = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? FailedTransfer() : Transfer::kDone;
}

Transfer Receiver::Receive(int socket, size_t allowed) {
  descriptors_ = {};
  iovec part{buffer_.data(), buffer_.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  // CMSG_LEN, not CMSG_SPACE: the padding would make room for another descriptor.
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int))];
  if (allowed > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_LEN(allowed * sizeof(int));
  }
  ssize_t got;
  do {
    got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return FailedTransfer();
  TakeDescriptors(message, descriptors_);
  const auto size = static_cast<size_t>(got);
  // An empty packet reads like the end of the connection, and is none of ours either.
  if (size == 0) return Transfer::kClosed;
  const bool truncated = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
  if (truncated || size < sizeof(Header) || size > kMaxPacket) return Broken();
  std::memcpy(&header_, buffer_.data(), sizeof(header_));
  if (header_.length != size - sizeof(Header)) return Broken();
  return Transfer::kDone;
}

Transfer Receiver::Broken() {
  descriptors_ = {};
  return Transfer::kBroken;
}

UniqueFd Receiver::TakeDescriptor() {
  UniqueFd first = std::move(descriptors_.front());
  std::ranges::move(descriptors_.begin() + 1, descriptors_.end(), descriptors_.begin());
  return first;
}

SplitPayload Split(std::string_view payload) {
  const size_t at = payload.find('\0');
  if (at == std::string_view::npos) return {payload, {}, false};
  return {payload.substr(0, at), payload.substr(at + 1), true};
}

std::string Join(std::string_view first, std::string_view second) {
  std::string payload(first);
  payload += '\0';
  payload += second;
  return payload;
}

uint16_t ErrnoOf(ErrorCode code) {
  for (const CodeNumber& pair : kCodeNumbers) {
    if (pair.code == code) return pair.number;
  }
  return EIO;
}

ErrorCode CodeOf(uint16_t error_number) {
  for (const CodeNumber& pair : kCodeNumbers) {
    if (pair.number == error_number) return pair.code;
  }
  return ErrorCode::kSystem;
}

}  // namespace tmem::loopback
