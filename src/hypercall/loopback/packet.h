// Sends and receives the packets of wire.h on a SOCK_SEQPACKET socket. Used by both sides.
//
// A packet that breaks the framing, or carries descriptors that were not asked for, reads as
// kBroken: the peer is to be dropped. Descriptors never outlive a failed call.
#ifndef TMEM_HYPERCALL_LOOPBACK_PACKET_H_
#define TMEM_HYPERCALL_LOOPBACK_PACKET_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"
#include "hypercall/loopback/wire.h"

namespace tmem::loopback {

// A packet to send. The descriptor, if any, stays the sender's.
struct Packet {
  Header header;  // length is filled in by Send
  std::string payload;
  int descriptor = -1;
};

enum class Transfer {
  kDone,
  kWouldBlock,
  kClosed,  // the peer is gone
  kBroken,  // the peer sent what wire.h does not allow
};

// Never blocks. REQUIRES: payload of at most kMaxPayload bytes.
Transfer Send(int socket, const Packet& packet);

// Receives packets into a buffer of its own. Not thread-safe.
class Receiver {
 public:
  // May a packet carry a descriptor? Where not, the kernel drops descriptors unopened.
  enum class Descriptors { kNone, kOne };

  // Never blocks. On kDone, header() and payload() are valid until the next call.
  Transfer Receive(int socket, Descriptors allowed);

  const Header& header() const { return header_; }
  std::string_view payload() const { return {buffer_.data() + sizeof(Header), header_.length}; }
  // The descriptor that came with the packet, or an empty one.
  UniqueFd TakeDescriptor() { return std::move(descriptor_); }

 private:
  Header header_;
  UniqueFd descriptor_;
  // One byte more than the largest packet: a longer one shows, whatever the kernel says.
  std::array<char, kMaxPacket + 1> buffer_;
};

// A plain struct as payload bytes, and back. Decode fails if the sizes differ.
template <class T>
std::string Encode(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}
template <class T>
bool Decode(std::string_view payload, T& value) {
  if (payload.size() != sizeof(value)) return false;
  payload.copy(reinterpret_cast<char*>(&value), sizeof(value));
  return true;
}

// "first\0second": how two strings share a payload. The second may hold anything; without a '\0'
// it is empty and `found` false.
struct SplitPayload {
  std::string_view first;
  std::string_view second;
  bool found = false;
};
SplitPayload Split(std::string_view payload);
std::string Join(std::string_view first, std::string_view second);

// How an Error's code travels, and back.
uint16_t ErrnoOf(ErrorCode code);
ErrorCode CodeOf(uint16_t error_number);

}  // namespace tmem::loopback

#endif  // TMEM_HYPERCALL_LOOPBACK_PACKET_H_
