// libFuzzer: any packets on a guest's socket, before and after hello. The session answers each as
// wire.h says, or ends; what other guests have in the tree is not touched.
#include <fcntl.h>
#include <fmt/format.h>
#include <fuzzer/FuzzedDataProvider.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "hypercall/loopback/packet.h"
#include "hypercall/loopback/realm.h"
#include "hypercall/loopback/session.h"

namespace tmem::loopback {
namespace {

constexpr std::string_view kOthers = "/local/domain/9/data";

void Demand(bool condition) {
  if (!condition) std::abort();
}

UniqueFd MakeMemory() {
  UniqueFd memfd(::memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  Demand(::ftruncate(memfd.get(), 4096) == 0);
  Demand(::fcntl(memfd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
  return memfd;
}

class Fuzzed {
 public:
  explicit Fuzzed(FuzzedDataProvider& data) : data_(data) {
    int ends[2];
    Demand(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    guest_.Reset(ends[0]);
    session_ = std::make_unique<Session>(UniqueFd(ends[1]), realm_,
                                         [](std::string_view) { return false; });
    const Directory::Node node{std::string(kOthers), "theirs",
                               Directory::Permissions{GuestId{9}, kBackendDomain}};
    Demand(realm_.WriteAll({&node, 1}).has_value());
  }

  void Run() {
    if (data_.ConsumeIntegralInRange(0, 7) != 0) SayHello();
    while (data_.remaining_bytes() > 0 && SendAny() && session_->Serve()) TakeAnswers();
    session_.reset();
    Demand(realm_.Guests().empty());
    Demand(realm_.Read(kBackendDomain, std::string(kOthers)) == "theirs");
  }

 private:
  void SayHello() {
    const UniqueFd memory = MakeMemory();
    Demand(Send(guest_.get(),
                {{.type = MessageType::kHello}, Encode(Hello{}) + "fuzz", {memory.get()}}) ==
           Transfer::kDone);
    Demand(session_->Serve() && session_->introduced());
    const GuestId id = realm_.Guests().front().id;
    folder_ = fmt::format("/local/domain/{}/data", id.value);
    const Directory::Node node{folder_, "", Directory::Permissions{id, kBackendDomain}};
    Demand(realm_.WriteAll({&node, 1}).has_value());
    TakeAnswers();
  }

  std::string AnyPath() {
    std::string path = data_.ConsumeBool() ? folder_ : std::string();
    while (data_.ConsumeBool()) path += fmt::format("/{}", data_.ConsumeRandomLengthString(6));
    return path;
  }

  bool SendAny() {
    if (data_.ConsumeIntegralInRange(0, 7) == 0) {
      const std::string bytes = data_.ConsumeRandomLengthString(64);
      return ::send(guest_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) >= 0;
    }
    Packet packet{{.type = static_cast<MessageType>(data_.ConsumeIntegralInRange(0, 10)),
                   .error = static_cast<uint16_t>(data_.ConsumeIntegralInRange(0, 31) == 0),
                   .request = data_.ConsumeIntegral<uint32_t>()},
                  AnyPath()};
    if (data_.ConsumeBool()) {
      packet.payload = Join(packet.payload, data_.ConsumeRandomLengthString(80));
    }
    UniqueFd memory;
    if (data_.ConsumeIntegralInRange(0, 15) == 0) {
      memory = MakeMemory();
      packet.descriptors.push_back(memory.get());
    }
    return Send(guest_.get(), packet) == Transfer::kDone;
  }

  void TakeAnswers() {
    Receiver receiver;
    while (true) {
      const Transfer transfer = receiver.Receive(guest_.get(), kMaxDescriptors);
      if (transfer == Transfer::kWouldBlock || transfer == Transfer::kClosed) return;
      Demand(transfer == Transfer::kDone);
      const MessageType type = receiver.header().type;
      Demand(type == MessageType::kReply || type == MessageType::kWatchEvent);
      if (type == MessageType::kWatchEvent) Demand(Split(receiver.payload()).found);
    }
  }

  FuzzedDataProvider& data_;
  const Bell backend_bell_ = *Bell::Create();
  const Bell server_bell_ = *Bell::Create();
  Realm realm_{backend_bell_, server_bell_};
  UniqueFd guest_;
  std::unique_ptr<Session> session_;
  std::string folder_;
};

}  // namespace
}  // namespace tmem::loopback

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  tmem::loopback::Fuzzed(data).Run();
  return 0;
}
