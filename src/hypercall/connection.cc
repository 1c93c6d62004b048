#include "hypercall/connection.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <utility>

namespace tmem {

namespace {

using namespace std::chrono_literals;

// A frontend connects once, or now and then. These leave room for one whose event channels an
// ending process still holds, who is tried every few milliseconds at first.
constexpr uint32_t kTriesAtOnce = 20;
constexpr auto kTryInterval = 500ms;
constexpr uint32_t kTriesInVain = 60;  // then it is given up

}  // namespace

Connection::Connection(const Context& context, const GuestInfo& info, std::shared_ptr<Guest> guest)
    : context_(context),
      info_(info),
      guest_(std::move(guest)),
      frontend_path_(FrontendPath(info.id)),
      backend_path_(BackendPath(info.id)),
      tries_(context.clock, kTriesAtOnce, kTryInterval) {}

Result<std::unique_ptr<Connection>> Connection::Create(const Context& context,
                                                       const GuestInfo& info,
                                                       std::shared_ptr<Guest> guest) {
  std::unique_ptr<Connection> connection(new Connection(context, info, std::move(guest)));
  TMEM_TRY(connection->WriteNodes());
  return connection;
}

Connection::~Connection() { DropQueues(); }

Result<void> Connection::WriteNodes() {
  Directory& directory = context_.hypervisor.directory();
  const Directory::Permissions ours{.owner = kBackendDomain, .reader = info_.id};
  const Directory::Permissions theirs{.owner = info_.id, .reader = kBackendDomain};
  const auto back = [&](std::string_view key) { return fmt::format("{}/{}", backend_path_, key); };
  const auto front = [&](std::string_view key) {
    return fmt::format("{}/{}", frontend_path_, key);
  };

  std::vector<Directory::Node> nodes = {
      {backend_path_, "", ours},
      {back("frontend"), frontend_path_, {}},
      {back("frontend-id"), fmt::format("{}", info_.id.value), {}},
      {back("online"), "1", {}},
      {back("versions"), fmt::format("{}", TMEMIF_VERSION), {}},
      {back("max-queues"), fmt::format("{}", context_.limits.max_queues), {}},
      {back("max-ring-page-order"), fmt::format("{}", context_.limits.max_ring_page_order), {}},
      {back("max-slots"), fmt::format("{}", context_.limits.max_slots), {}},
      {back("max-batch"), fmt::format("{}", TMEMIF_MAX_BATCH), {}},
      {back("feature-posted-put"), "1", {}},
      {back(keys::kStoreId), context_.store.id().ToString(), {}},
  };
  // A frontend that a daemon before us connected goes on as if nothing had been: its state, and
  // ours, are left as they stand.
  const auto backend = directory.Read(front("backend"));
  const auto state = FrontendState();
  if (!state || (!backend && backend.error().code != ErrorCode::kNotFound)) {
    return Fail(ErrorCode::kUnavailable, "its frontend's directory cannot be read");
  }
  const bool known = backend == backend_path_;
  if (!known) {
    nodes.push_back({frontend_path_, "", theirs});
    nodes.push_back({front("backend"), backend_path_, {}});
    nodes.push_back({front("backend-id"), fmt::format("{}", kBackendDomain.value), {}});
    nodes.push_back({front(keys::kState), ToNode(XenbusState::kInitialising), {}});
  }
  if (known && (*state == XenbusState::kInitialising || *state == XenbusState::kClosed)) {
    Store::ForgetRequests(*guest_);  // it will come with new rings
  }
  if (!known || *state != XenbusState::kConnected) {
    nodes.push_back({back(keys::kState), ToNode(XenbusState::kInitWait), {}});
  }
  TMEM_TRY(directory.Remove(back(keys::kError)));
  return directory.WriteAll(nodes);
}

std::optional<XenbusState> Connection::FrontendState() {
  const auto text =
      context_.hypervisor.directory().Read(fmt::format("{}/{}", frontend_path_, keys::kState));
  if (text) return ParseXenbusState(*text);
  if (text.error().code == ErrorCode::kNotFound) return XenbusState::kUnknown;
  return std::nullopt;
}

void Connection::SetState(XenbusState state) {
  const auto written = context_.hypervisor.directory().Write(
      fmt::format("{}/{}", backend_path_, keys::kState), ToNode(state));
  if (!written) {
    spdlog::warn("guest {} ({}): cannot write our state: {}", info_.id.value, info_.name,
                 written.error().message);
  }
}

bool Connection::FollowFrontend() {
  if (state_ == State::kViolated) return false;
  const auto state = FrontendState();
  if (!state) return true;
  switch (*state) {
    case XenbusState::kInitialising:
    case XenbusState::kInitWait:
      if (state_ != State::kWaiting) Wait();
      return false;
    case XenbusState::kInitialised:
    case XenbusState::kConnected:
      return state_ == State::kWaiting && Connect();
    case XenbusState::kClosing:
      if (state_ != State::kClosing && state_ != State::kClosed) Leave(State::kClosing);
      return false;
    case XenbusState::kUnknown:
    case XenbusState::kClosed:
      if (state_ != State::kClosed) Leave(State::kClosed);
      return false;
  }
  return false;
}

void Connection::Wait() {
  if (DropQueues()) return HandleReport();
  tries_in_vain_ = 0;
  state_ = State::kWaiting;
  Store::ForgetRequests(*guest_);  // it comes with new rings
  SetState(XenbusState::kInitWait);
}

bool Connection::Connect() {
  if (!tries_.Allow()) return true;
  const auto offer = ReadOffer(context_.hypervisor.directory(), frontend_path_, context_.limits);
  auto parts = offer ? MapOffer(context_.hypervisor, info_.id, *offer)
                     : Result<std::vector<Queue::Parts>>(std::unexpected(offer.error()));
  if (parts) {
    Attach(std::move(*parts));
    return false;
  }
  if (parts.error().code != ErrorCode::kInvalid && ++tries_in_vain_ < kTriesInVain) return true;
  Violate(parts.error().message);
  return false;
}

void Connection::Attach(std::vector<Queue::Parts> parts) {
  tries_in_vain_ = 0;
  state_ = State::kConnected;
  for (Queue::Parts& part : parts) {
    queues_.push_back(std::make_shared<Queue>(context_.store, guest_, std::move(part),
                                              [this](std::string_view reason) { Report(reason); }));
    context_.host.Attach(queues_.back());
  }
  SetState(XenbusState::kConnected);
  spdlog::info("guest {} ({}): connected, queues: {}", info_.id.value, info_.name, queues_.size());
}

bool Connection::DropQueues() {
  for (const auto& queue : queues_) {
    context_.host.Detach(*queue);
    past_requests_ += queue->requests();
    past_notifications_ += queue->notifications();
  }
  queues_.clear();
  MutexLock lock(report_mutex_);
  return report_.has_value();
}

void Connection::Leave(State state) {
  if (DropQueues()) return HandleReport();
  if (state_ != State::kClosing) SetState(XenbusState::kClosing);
  state_ = state;
  if (state == State::kClosed) SetState(XenbusState::kClosed);
}

void Connection::Report(std::string_view reason) {
  {
    MutexLock lock(report_mutex_);
    if (report_) return;
    report_ = reason;
  }
  context_.on_report();
}

std::optional<std::string> Connection::TakeReport() {
  MutexLock lock(report_mutex_);
  return std::exchange(report_, std::nullopt);
}

void Connection::HandleReport() {
  if (const auto reason = TakeReport()) Violate(*reason);
}

void Connection::Violate(std::string_view reason) {
  DropQueues();
  TakeReport();  // what the other queues found meanwhile adds nothing
  state_ = State::kViolated;
  reason_ = reason;
  (void)context_.hypervisor.directory().Write(fmt::format("{}/{}", backend_path_, keys::kError),
                                              reason_);
  SetState(XenbusState::kClosing);
  SetState(XenbusState::kClosed);
  if (context_.violation_log.Allow()) {
    spdlog::info("guest {} ({}): disconnected: {} ({} such lines left out before)", info_.id.value,
                 info_.name, reason_, context_.violation_log.TakeSuppressed());
  }
}

void Connection::Forgive() {
  if (state_ != State::kViolated) return;
  reason_.clear();
  (void)context_.hypervisor.directory().Remove(fmt::format("{}/{}", backend_path_, keys::kError));
  state_ = State::kClosed;
}

void Connection::RemoveNodes() {
  DropQueues();
  Directory& directory = context_.hypervisor.directory();
  // With the folders above, which hold this one device.
  for (const std::string& device : {backend_path_, frontend_path_}) {
    const std::string path = device.substr(0, device.rfind('/'));
    if (const auto removed = directory.Remove(path); !removed) {
      spdlog::warn("guest {} ({}): cannot remove {}: {}", info_.id.value, info_.name, path,
                   removed.error().message);
    }
  }
}

uint64_t Connection::requests() const {
  uint64_t sum = past_requests_;
  for (const auto& queue : queues_) sum += queue->requests();
  return sum;
}

uint64_t Connection::notifications() const {
  uint64_t sum = past_notifications_;
  for (const auto& queue : queues_) sum += queue->notifications();
  return sum;
}

}  // namespace tmem
