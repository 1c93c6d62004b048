// What travels on the loopback hypervisor's socket, and every limit on it.
//
// The socket is SOCK_SEQPACKET: one message a packet, a Header and then header.length bytes. The
// guest sends requests and gets exactly one reply to each, in order; watch events come in between.
//
//   request      payload                           reply's payload
//   kHello       Hello, then the name; carries     HelloReply
//                one descriptor, the memory
//   kRead        path                              value
//   kWrite       path, '\0', value                 -
//   kRemove      path                              -
//   kList        path                              names of the children, '\0' after each
//   kWatch       path, '\0', token                 -
//   kUnwatch     path, '\0', token                 -
//   kAllocPort   -                                 AllocPortReply; carries two descriptors, the
//                                                  guest's end of a channel
//
//   kReply       header.error is 0, the payload as above; else an errno and the payload is text
//   kWatchEvent  path, '\0', token; header.request is 0
//
// kHello comes first and once. The memory is a memfd of whole pages, sealed against shrinking and
// growing: the daemon maps pages of it, and must never find them gone. A grant reference is 1 +
// the page's number in it.
//
// A channel goes two ways, each by its own means, so that neither can make the daemon wait:
//   - to the guest, a pair of connected datagram sockets; one datagram, of any content, is one
//     notification. The daemon's end is shut for reading. Not an eventfd: whether its write blocks
//     is a flag of the open file, which both sides would share, and the guest could fill the
//     counter. Here a full queue drops the excess.
//   - to the daemon, an eventfd, which the daemon only reads, and never waits for, whatever that
//     flag says. Not a socket: with a datagram may come descriptors. If nobody takes them the
//     kernel closes them in the receiver's name, and to close a TCP socket that lingers takes as
//     long as its sender chose.
// The guest's end is its socket and the eventfd, in this order. Whatever the guest does with them,
// closing them makes nothing readable at the daemon's.
//
// Both sides check lengths before contents, and drop a peer that breaks these rules.
#ifndef TMEM_HYPERCALL_LOOPBACK_WIRE_H_
#define TMEM_HYPERCALL_LOOPBACK_WIRE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tmem::loopback {

inline constexpr uint32_t kWireVersion = 3;

inline constexpr size_t kMaxPath = 3072;   // xenstore's
inline constexpr size_t kMaxValue = 4096;  // xenstore's
inline constexpr size_t kMaxToken = 64;
inline constexpr size_t kMaxName = 63;
inline constexpr size_t kMaxPayload = kMaxPath + 1 + kMaxValue;

// What one guest may hold of the daemon.
inline constexpr uint32_t kMaxGrantPages = 32768;  // 128 MiB
inline constexpr uint32_t kMaxMappedRuns = 128;    // mappings: the kernel gives a process 65,530
inline constexpr uint32_t kMaxPorts = 32;          // each costs the daemon two descriptors
inline constexpr uint32_t kMaxNodes = 256;         // nodes of the tree that the guest owns
inline constexpr uint32_t kMaxWatches = 32;

// Of all guests together, those that have not said hello included.
inline constexpr uint32_t kMaxConnections = 128;

// Domids of guests: 1 to DOMID_FIRST_RESERVED - 1, as in Xen.
inline constexpr uint16_t kMaxDomid = 0x7fef;

enum class MessageType : uint16_t {
  kHello = 1,
  kRead = 2,
  kWrite = 3,
  kRemove = 4,
  kList = 5,
  kWatch = 6,
  kUnwatch = 7,
  kAllocPort = 8,
  kReply = 64,
  kWatchEvent = 65,
};

struct Header {
  MessageType type{};
  uint16_t error = 0;    // replies: 0 or an errno; otherwise 0
  uint32_t request = 0;  // the guest's own number, echoed by the reply
  uint32_t length = 0;   // bytes after the header
};

struct Hello {
  uint32_t version = kWireVersion;
  uint32_t domid = 0;  // that the guest had with a daemon before this one; 0: a new guest
};

struct HelloReply {
  uint64_t instance[2] = {};  // random, of this hypervisor's life
  uint32_t domid = 0;
  uint32_t resumed = 0;  // 1: the guest is the one that had this domid before, and was waited for
};

struct AllocPortReply {
  uint32_t port = 0;
};

static_assert(sizeof(Header) == 12 && sizeof(Hello) == 8 && sizeof(HelloReply) == 24 &&
              sizeof(AllocPortReply) == 4);

inline constexpr size_t kMaxPacket = sizeof(Header) + kMaxPayload;

// 1 to kMaxName of [A-Za-z0-9._-].
constexpr bool IsGuestName(std::string_view name) {
  constexpr std::string_view kAllowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  return !name.empty() && name.size() <= kMaxName &&
         name.find_first_not_of(kAllowed) == std::string_view::npos;
}

}  // namespace tmem::loopback

#endif  // TMEM_HYPERCALL_LOOPBACK_WIRE_H_
