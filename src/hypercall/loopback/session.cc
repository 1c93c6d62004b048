#include "hypercall/loopback/session.h"

#include <fmt/format.h>
#include <poll.h>

#include <utility>

#include "hypercall/loopback/guest_memory.h"

namespace tmem::loopback {

namespace {

// Requests that one guest gets executed before the others have their turn.
constexpr int kRequestsPerTurn = 16;

std::unexpected<Error> BadRequest() {
  return Fail(ErrorCode::kInvalid, "the request does not follow the protocol");
}

// Success has nothing to say.
Result<std::string> Silent(Result<void> result) {
  if (!result) return std::unexpected(std::move(result).error());
  return std::string();
}

}  // namespace

Session::Session(UniqueFd socket, Realm& realm, EvictDead evict_dead)
    : socket_(std::move(socket)), realm_(realm), evict_dead_(std::move(evict_dead)) {}

Session::~Session() {
  if (guest_) realm_.Release(*guest_);
}

bool Session::PeerIsGone() const {
  pollfd poll{.fd = socket(), .events = POLLRDHUP, .revents = 0};
  return ::poll(&poll, 1, 0) > 0 && (poll.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

bool Session::Serve() {
  if (!Flush()) return false;
  for (int i = 0; i < kRequestsPerTurn && !output_; ++i) {
    const size_t allowed = guest_ ? 0 : 1;  // hello brings the memory
    switch (receiver_.Receive(socket(), allowed)) {
      case Transfer::kDone:
        if (!HandlePacket()) return false;
        break;
      case Transfer::kWouldBlock:
        return true;
      case Transfer::kClosed:
      case Transfer::kBroken:
        return false;
    }
  }
  return true;
}

bool Session::Flush() {
  while (true) {
    if (!output_ && guest_) {
      if (auto event = realm_.NextEvent(*guest_)) {
        output_ = Packet{{.type = MessageType::kWatchEvent}, Join(event->path, event->token)};
      }
    }
    if (!output_) return true;
    switch (Send(socket(), *output_)) {
      case Transfer::kDone:
        output_.reset();
        output_descriptors_.clear();
        break;
      case Transfer::kWouldBlock:
        return true;
      case Transfer::kClosed:
      case Transfer::kBroken:
        return false;
    }
  }
}

bool Session::HandlePacket() {
  const Header& request = receiver_.header();
  const bool is_hello = request.type == MessageType::kHello;
  if (is_hello == guest_.has_value() || request.error != 0) return false;
  Packet reply{{.type = MessageType::kReply, .request = request.request}, ""};
  auto answer = Execute(receiver_.payload());
  if (answer) {
    reply.payload = std::move(answer->payload);
    output_descriptors_ = std::move(answer->descriptors);
    for (const UniqueFd& descriptor : output_descriptors_) {
      reply.descriptors.push_back(descriptor.get());
    }
  } else {
    reply.header.error = ErrnoOf(answer.error().code);
    reply.payload = std::move(answer.error().message);
  }
  output_ = std::move(reply);
  return Flush();
}

Result<Session::Answer> Session::Execute(std::string_view payload) {
  switch (receiver_.header().type) {
    case MessageType::kHello:
      return Hello(payload);
    case MessageType::kList:
      return List(std::string(payload));
    case MessageType::kAllocPort:
      return AllocPort();
    default:
      break;
  }
  Result<std::string> text = ExecuteOnTree(payload);
  if (!text) return std::unexpected(std::move(text).error());
  return Answer{*std::move(text)};
}

Result<std::string> Session::ExecuteOnTree(std::string_view payload) {
  switch (receiver_.header().type) {
    case MessageType::kRead:
      return realm_.Read(*guest_, std::string(payload));
    case MessageType::kRemove:
      return Silent(realm_.Remove(*guest_, std::string(payload)));
    default:
      break;
  }
  const SplitPayload split = Split(payload);
  if (!split.found) return BadRequest();
  const std::string path(split.first);
  const std::string second(split.second);
  switch (receiver_.header().type) {
    case MessageType::kWrite:
      return Silent(realm_.Write(*guest_, path, second));
    case MessageType::kWatch:
      return Silent(realm_.Watch(*guest_, path, second));
    case MessageType::kUnwatch:
      return Silent(realm_.Unwatch(*guest_, path, second));
    default:
      return BadRequest();
  }
}

Result<Session::Answer> Session::Hello(std::string_view payload) {
  tmem::loopback::Hello hello;
  if (!Decode(payload.substr(0, sizeof(hello)), hello)) return BadRequest();
  if (hello.version != kWireVersion) {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("the client speaks version {} of the loopback protocol, this daemon {}",
                            hello.version, kWireVersion));
  }
  const std::string name(payload.substr(sizeof(hello)));
  if (!IsGuestName(name)) {
    return Fail(
        ErrorCode::kInvalid,
        fmt::format("a guest's name has 1 to {} letters, digits, '.', '_' and '-'", kMaxName));
  }
  auto memory = GuestMemory::Adopt(receiver_.TakeDescriptor());
  if (!memory) return std::unexpected(std::move(memory).error());
  const auto claimed = static_cast<uint16_t>(hello.domid <= kMaxDomid ? hello.domid : 0);
  Result<GuestId> guest = realm_.Resume(GuestId{claimed}, name, *memory);
  const bool resumed = guest.has_value();
  if (!guest) guest = realm_.Introduce(name, *memory);
  if (!guest && guest.error().code == ErrorCode::kExists && evict_dead_(name)) {
    guest = realm_.Introduce(name, *std::move(memory));
  }
  if (!guest) return std::unexpected(std::move(guest).error());
  guest_ = *guest;
  name_ = name;
  const Uuid& instance = realm_.instance();
  return Answer{Encode(HelloReply{.instance = {instance.words[0], instance.words[1]},
                                  .domid = guest_->value,
                                  .resumed = resumed ? 1u : 0u})};
}

Result<Session::Answer> Session::List(const std::string& path) {
  const auto names = realm_.List(*guest_, path);
  if (!names) return std::unexpected(names.error());
  std::string payload;
  for (const std::string& name : *names) payload.append(name).push_back('\0');
  if (payload.size() > kMaxPayload) {
    return Fail(ErrorCode::kExhausted, fmt::format("{}: the list does not fit a message", path));
  }
  return Answer{std::move(payload)};
}

Result<Session::Answer> Session::AllocPort() {
  auto port = realm_.AllocPort(*guest_);
  if (!port) return std::unexpected(std::move(port).error());
  Answer answer{Encode(AllocPortReply{.port = port->port.value})};
  answer.descriptors.push_back(std::move(port->guest_end.inbound));
  answer.descriptors.push_back(std::move(port->guest_end.outbound));
  return answer;
}

}  // namespace tmem::loopback
