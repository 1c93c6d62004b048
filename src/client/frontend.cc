#include "client/frontend.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "hypercall/abi/tmemif.h"

namespace tmem::client {

namespace {

// A daemon that opens the device and closes it again, without saying why, is left after so many
// first handshakes. Later ones have no such limit: to leave is to let our pages go, and a handshake
// that looks closed from here may have served requests in between.
constexpr int kMaxFirstHandshakes = 8;

bool MayPass(const Error& error) {
  return error.code == ErrorCode::kNotFound || error.code == ErrorCode::kUnavailable;
}

std::optional<uint32_t> ParseNumber(std::string_view text) {
  uint32_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, value);
  if (status != std::errc() || rest != end) return std::nullopt;
  return value;
}

// Is `word` one of the words of a space-separated list?
bool ListHas(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const size_t space = std::min(list.find(' '), list.size());
    if (list.substr(0, space) == word) return true;
    list.remove_prefix(std::min(space + 1, list.size()));
  }
  return false;
}

bool FitsIn(const Shape& shape, const Shape& largest) {
  return shape.queues <= largest.queues && shape.ring_page_order <= largest.ring_page_order &&
         shape.slots <= largest.slots;
}

}  // namespace

Frontend::Frontend(const Config& config, SharedArea& area, const loopback::Bell& interrupt)
    : config_(config), area_(area), interrupt_(interrupt) {}

Result<void> Frontend::Connect(TimePoint deadline) {
  ports_.clear();
  channels_.clear();
  link_.reset();  // the daemon lets no second link of our name in
  if (!established_) agreement_.reset();
  auto link = GuestLink::Connect({.socket_path = config_.socket_path,
                                  .guest_name = config_.guest_name,
                                  .memfd = area_.memfd(),
                                  .domid = domid_},
                                 deadline, interrupt_);
  if (!link) return std::unexpected(std::move(link).error());
  link_ = *std::move(link);
  if (established_ && (link_->instance() == instance_ || !link_->resumed())) {
    return Fail(ErrorCode::kInvalid, "the daemon released this guest and dropped its pages");
  }
  instance_ = link_->instance();
  domid_ = link_->domid();
  frontend_path_ = FrontendPath(domid_);
  TMEM_TRY(FindBackend());
  return Handshake();
}

Result<void> Frontend::FindBackend() {
  const std::string path = fmt::format("{}/backend", frontend_path_);
  TMEM_TRY(link_->Watch(path));
  while (true) {
    const auto backend = link_->Read(path);
    if (backend) {
      backend_path_ = *backend;
      break;
    }
    if (backend.error().code != ErrorCode::kNotFound) return std::unexpected(backend.error());
    if (const auto event = link_->NextEvent(); !event) {
      return Fail(ErrorCode::kUnavailable,
                  fmt::format("the daemon offers no tmem to guest '{}'; allow it in the daemon's "
                              "configuration",
                              config_.guest_name));
    }
  }
  return link_->Watch(BackendKey(keys::kState));
}

Result<void> Frontend::Handshake() {
  for (int attempt = 0; established_ || attempt < kMaxFirstHandshakes; ++attempt) {
    const auto waits = AwaitBackend(XenbusState::kInitWait, XenbusState::kClosed);
    if (!waits) return std::unexpected(waits.error());
    if (*waits == XenbusState::kClosed) {
      if (Error error = ClosedBy(); !MayPass(error)) return std::unexpected(std::move(error));
      TMEM_TRY(SetState(XenbusState::kInitialising));
      const auto opens = AwaitBackend(XenbusState::kInitWait, XenbusState::kInitWait);
      if (!opens) return std::unexpected(opens.error());
    }
    const auto limits = ReadLimits();
    if (!limits) return std::unexpected(limits.error());
    TMEM_TRY(Agree(*limits));
    TMEM_TRY(Offer());
    const auto ends = AwaitBackend(XenbusState::kConnected, XenbusState::kClosed);
    if (!ends) return std::unexpected(ends.error());
    if (*ends == XenbusState::kConnected) {
      TMEM_TRY(SetState(XenbusState::kConnected));
      established_ = true;
      return {};
    }
  }
  return Fail(ErrorCode::kUnavailable, "the daemon closes the device again and again");
}

Result<XenbusState> Frontend::BackendState() {
  const auto text = link_->Read(BackendKey(keys::kState));
  if (text) return ParseXenbusState(*text);
  if (text.error().code == ErrorCode::kUnavailable) return std::unexpected(text.error());
  return Fail(ErrorCode::kDenied, "the daemon took this guest's device away");
}

Result<XenbusState> Frontend::AwaitBackend(XenbusState one, XenbusState other) {
  while (true) {
    const auto state = BackendState();
    if (!state || *state == one || *state == other) return state;
    if (const auto event = link_->NextEvent(); !event) {
      return Fail(event.error().code,
                  fmt::format("the handshake stands still with the daemon in state {}: {}",
                              ToNode(*state), event.error().message));
    }
  }
}

Error Frontend::ClosedBy() {
  const auto reason = link_->Read(BackendKey(keys::kError));
  if (reason) {
    return {ErrorCode::kInvalid,
            fmt::format("the daemon closed the device of guest '{}': {}; see `tmemctl forgive`",
                        config_.guest_name, *reason)};
  }
  return {ErrorCode::kUnavailable, "the daemon closed the device"};
}

Result<Frontend::Limits> Frontend::ReadLimits() {
  const auto versions = link_->Read(BackendKey("versions"));
  if (!versions) return std::unexpected(versions.error());
  if (!ListHas(*versions, fmt::format("{}", TMEMIF_VERSION))) {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("the daemon speaks versions '{}' of the tmem protocol, this library {}",
                            *versions, TMEMIF_VERSION));
  }
  Limits limits;
  TMEM_ASSIGN(limits.largest.queues, ReadNumber("max-queues", 1, TMEMIF_MAX_QUEUES));
  TMEM_ASSIGN(limits.largest.ring_page_order,
              ReadNumber("max-ring-page-order", 0, TMEMIF_MAX_RING_PAGE_ORDER));
  TMEM_ASSIGN(limits.largest.slots, ReadNumber("max-slots", 1, TMEMIF_MAX_SLOTS));
  TMEM_ASSIGN(limits.max_batch, ReadNumber("max-batch", 1, TMEMIF_MAX_BATCH));
  limits.may_post = link_->Read(BackendKey("feature-posted-put")) == "1";
  limits.store_id = link_->Read(BackendKey(keys::kStoreId)).value_or("");
  return limits;
}

Result<void> Frontend::Agree(const Limits& limits) {
  if (agreement_) {
    if (limits.store_id != store_id_ || store_id_.empty()) {
      return Fail(ErrorCode::kInvalid, "the daemon came back with an empty store");
    }
    if (!FitsIn(agreement_->shape, limits.largest) || agreement_->max_batch > limits.max_batch ||
        (agreement_->may_post && !limits.may_post)) {
      return Fail(ErrorCode::kUnsupported, "the daemon came back with lower limits");
    }
    return {};
  }
  const Shape& largest = limits.largest;
  const Shape shape{
      .queues = std::min(config_.wanted.queues, largest.queues),
      .ring_page_order = std::min(config_.wanted.ring_page_order, largest.ring_page_order),
      .slots = std::min(config_.wanted.slots, largest.slots)};
  agreement_ = Agreement{shape, limits.max_batch, limits.may_post};
  store_id_ = limits.store_id;
  area_.Lay(shape);
  return {};
}

Result<void> Frontend::Offer() {
  const Shape& shape = agreement_->shape;
  while (ports_.size() < shape.queues) {
    auto port = link_->AllocPort();
    if (!port) return std::unexpected(std::move(port).error());
    ports_.push_back(port->port);
    channels_.push_back(std::move(port->channel));
  }
  TMEM_TRY(WriteKey("version", fmt::format("{}", TMEMIF_VERSION)));
  TMEM_TRY(WriteKey("num-queues", fmt::format("{}", shape.queues)));
  TMEM_TRY(WriteKey("ring-page-order", fmt::format("{}", shape.ring_page_order)));
  TMEM_TRY(WriteKey("num-slots", fmt::format("{}", shape.slots)));
  TMEM_TRY(WriteKey("feature-posted-put", agreement_->may_post ? "1" : "0"));
  for (uint32_t queue = 0; queue < shape.queues; ++queue) {
    TMEM_TRY(WriteKey(fmt::format("queue-{}/directory-ref", queue),
                      fmt::format("{}", area_.DirectoryRef(queue))));
    TMEM_TRY(WriteKey(fmt::format("queue-{}/event-channel", queue),
                      fmt::format("{}", ports_[queue].value)));
  }
  return SetState(XenbusState::kInitialised);
}

Frontend::Outcome Frontend::Follow() {
  link_->SetDeadline(TimePoint::max());
  const auto result = [&]() -> Result<void> {
    const auto state = AwaitBackend(XenbusState::kClosed, XenbusState::kInitWait);
    if (!state) return std::unexpected(state.error());
    if (*state == XenbusState::kClosed) {
      if (Error error = ClosedBy(); !MayPass(error)) return std::unexpected(std::move(error));
      TMEM_TRY(SetState(XenbusState::kClosed));
    }
    return Handshake();
  }();
  if (result) return Outcome::kConnected;
  return MayPass(result.error()) ? Outcome::kTryAgain : Outcome::kDead;
}

Frontend::Outcome Frontend::Reconnect() {
  // Without a deadline: a daemon that accepted us may take its time to find our pages again, and to
  // leave it now would be to let them go.
  const auto result = Connect(TimePoint::max());
  if (result) return Outcome::kConnected;
  // The name may still be the dying link's; the socket's mode may be about to be set.
  const ErrorCode code = result.error().code;
  const bool early =
      code == ErrorCode::kExists || code == ErrorCode::kDenied || code == ErrorCode::kExhausted;
  return early || MayPass(result.error()) ? Outcome::kTryAgain : Outcome::kDead;
}

Result<void> Frontend::SetState(XenbusState state) { return WriteKey(keys::kState, ToNode(state)); }

Result<uint32_t> Frontend::ReadNumber(std::string_view key, uint32_t low, uint32_t high) {
  const auto text = link_->Read(BackendKey(key));
  if (!text && text.error().code == ErrorCode::kUnavailable) return std::unexpected(text.error());
  const auto value = text ? ParseNumber(*text) : std::nullopt;
  if (!value || *value < low || *value > high) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("the daemon's key {} is not a number from {} to {}", key, low, high));
  }
  return *value;
}

std::string Frontend::BackendKey(std::string_view key) const {
  return fmt::format("{}/{}", backend_path_, key);
}

Result<void> Frontend::WriteKey(std::string_view key, std::string_view value) {
  return link_->Write(fmt::format("{}/{}", frontend_path_, key), value);
}

}  // namespace tmem::client
