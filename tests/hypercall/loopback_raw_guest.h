// A guest of the loopback hypervisor for tests, with nothing between test and socket: it can speak
// the protocol of wire.h, or break it in any way.
//
// Waits are bounded by kPatience, which only a failing test ever sees the end of.
#ifndef TMEM_TESTS_HYPERCALL_LOOPBACK_RAW_GUEST_H_
#define TMEM_TESTS_HYPERCALL_LOOPBACK_RAW_GUEST_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "hypercall/loopback/wire.h"

namespace tmem::loopback {

inline constexpr int kPatienceMs = 30'000;

// A memfd of so many pages with those seals.
UniqueFd MakeMemfd(size_t pages, int seals);
// One that the server takes.
UniqueFd MakeGoodMemfd(size_t pages = 4);

// Is the descriptor readable (or hung up) now?
bool IsReadable(int fd);
// Waits until it is.
bool AwaitReadable(int fd);

class RawGuest {
 public:
  struct Answer {
    Header header;
    std::string payload;
    std::vector<UniqueFd> descriptors;
  };

  explicit RawGuest(const std::string& socket_path);

  // ---- anything goes ----
  // True if the kernel took it.
  bool SendBytes(std::string_view bytes, std::span<const int> descriptors = {});
  // As SendBytes, but does not wait for room.
  bool TrySendBytes(std::string_view bytes);
  // The next packet of any type; nullopt when the server closed the connection.
  std::optional<Answer> Receive();
  // Waits until the server closes the connection, reading what comes before.
  bool AwaitClosed();
  void Close() { socket_.Reset(); }
  int socket() const { return socket_.get(); }

  // ---- by the book ----
  static std::string Packet(MessageType type, uint32_t request, std::string_view payload);
  static std::string HelloPayload(std::string_view name);
  // Hello with fresh memory; the domid, or nullopt if refused.
  std::optional<uint16_t> Hello(std::string_view name);
  // The same as a guest that had a domid before: the domid, if it is taken for that guest.
  std::optional<uint16_t> HelloAgain(std::string_view name, uint16_t domid);
  std::optional<Answer> HelloWith(std::string_view name, int memfd);
  // Sends a request and returns its reply; watch events that come before it are kept.
  std::optional<Answer> Call(MessageType type, std::string_view payload);
  // The errno of the reply to a call.
  int Error(MessageType type, std::string_view payload);
  // The next watch event's path.
  std::optional<std::string> NextEvent();

 private:
  UniqueFd socket_;
  uint32_t last_request_ = 0;
  std::vector<std::string> events_;
};

}  // namespace tmem::loopback

#endif  // TMEM_TESTS_HYPERCALL_LOOPBACK_RAW_GUEST_H_
