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
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "hypercall/loopback/wire.h"

namespace tmem::loopback {

inline constexpr size_t kMaxDescriptors = 2;  // that a packet carries

// A packet to send. The descriptors stay the sender's.
struct Packet {
  Header header;  // length is filled in by Send
  std::string payload;
  std::vector<int> descriptors{};  // at most kMaxDescriptors
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
  // Never blocks. On kDone, header() and payload() are valid until the next call. `allowed`: how
  // many descriptors the packet may carry, at most kMaxDescriptors; the kernel drops more unopened.
  Transfer Receive(int socket, size_t allowed);

  const Header& header() const { return header_; }
  std::string_view payload() const { return {buffer_.data() + sizeof(Header), header_.length}; }
  // The next of the descriptors that came with the packet, or an empty one.
  UniqueFd TakeDescriptor();

 private:
  Transfer Broken();

  Header header_;
  std::array<UniqueFd, kMaxDescriptors> descriptors_;
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
