#include "hypercall/backend.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "base/rate_limiter.h"
#include "base/unique_fd.h"
#include "hypercall/xenbus.h"

namespace tmem {

namespace {

using namespace std::chrono_literals;

constexpr std::string_view kGuestsToken = "guests";
constexpr std::string_view kFrontendToken = "frontend:";

// How soon a connection is tried again whose event channel an ending process still holds, and
// guests whose pages are still being found.
constexpr auto kRetryAfter = 20ms;

// A hostile guest can violate the protocol as often as it is forgiven; the log is not its to fill.
constexpr uint32_t kViolationBurst = 5;
constexpr auto kViolationInterval = 10s;

// Nor is it for guests that come and go.
constexpr uint32_t kGuestBurst = 50;
constexpr auto kGuestInterval = 1s;

// Events taken from the directory in one go: a storm of them must not keep the control thread.
constexpr int kEventsPerTurn = 256;

// True if it was raised.
bool Drain(int fd) {
  uint64_t count = 0;
  return read(fd, &count, sizeof(count)) > 0;
}

void Raise(int fd) {
  const uint64_t one = 1;
  [[maybe_unused]] const auto written = write(fd, &one, sizeof(one));
}

std::string TokenOf(GuestId guest) { return fmt::format("{}{}", kFrontendToken, guest.value); }

std::optional<GuestId> GuestOfToken(std::string_view token) {
  if (!token.starts_with(kFrontendToken)) return std::nullopt;
  token.remove_prefix(kFrontendToken.size());
  GuestId id;
  std::from_chars(token.data(), token.data() + token.size(), id.value);
  return id;
}

std::string_view NameOf(Connection::State state) {
  switch (state) {
    case Connection::State::kWaiting:
      return "waiting";
    case Connection::State::kConnected:
      return "connected";
    case Connection::State::kClosing:
      return "closing";
    case Connection::State::kClosed:
      return "closed";
    case Connection::State::kViolated:
      break;
  }
  return "violated";
}

}  // namespace

class Backend::Impl {
 public:
  Impl(Hypervisor& hypervisor, Store& store, QueueHost& host, const Clock& clock, Admit admit,
       const WireLimits& limits, BackendObserver* observer)
      : violation_log_(clock, kViolationBurst, kViolationInterval),
        guest_log_(clock, kGuestBurst, kGuestInterval),
        context_{.hypervisor = hypervisor,
                 .store = store,
                 .host = host,
                 .clock = clock,
                 .limits = limits,
                 .violation_log = violation_log_,
                 .on_report = [this] { Raise(report_event_.get()); }},
        admit_(std::move(admit)),
        observer_(observer) {}

  Result<void> Start();
  std::vector<int> PollFds() const;
  void HandleEvents();
  std::vector<ConnectionInfo> Connections() const;
  std::optional<GuestInfo> Find(const std::string& guest) const;
  Result<void> Forgive(GuestId guest);

 private:
  void FollowGuests();
  void AddGuest(const GuestInfo& info);
  void RemoveGuest(GuestId id);
  void Follow(GuestId id);
  void RemoveSurvivors(const std::vector<GuestInfo>& guests);
  void RetrySoon();
  void HandleReports();
  void HandleRetries();

  RateLimiter violation_log_;
  RateLimiter guest_log_;
  const Connection::Context context_;
  const Admit admit_;
  BackendObserver* const observer_;
  std::map<GuestId, Uuid> refused_;  // guests that may not use tmem: told once

  UniqueFd retry_timer_;
  std::set<GuestId> to_retry_;    // connections to follow
  bool guests_to_retry_ = false;  // some could not be added yet
  bool retry_is_set_ = false;

  UniqueFd report_event_;  // raised by workers that found a violation

  // Last, and so the first to go: until then, workers may still raise report_event_.
  std::map<GuestId, std::unique_ptr<Connection>> connections_;
};

Result<void> Backend::Impl::Start() {
  retry_timer_.Reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  report_event_.Reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!retry_timer_ || !report_event_) {
    return std::unexpected(SystemError("cannot create the backend's event descriptors"));
  }
  Directory& directory = context_.hypervisor.directory();
  TMEM_TRY(directory.Watch(std::string(kIntroduceDomain), std::string(kGuestsToken)));
  TMEM_TRY(directory.Watch(std::string(kReleaseDomain), std::string(kGuestsToken)));
  std::vector<GuestInfo> survivors;
  for (const GuestIdentity& one : context_.store.Survivors()) {
    survivors.push_back({.id = one.id, .name = one.name, .uuid = one.uuid});
  }
  context_.hypervisor.Expect(survivors);
  FollowGuests();
  return {};
}

std::vector<int> Backend::Impl::PollFds() const {
  return {context_.hypervisor.directory().fd(), report_event_.get(), retry_timer_.get()};
}

void Backend::Impl::HandleEvents() {
  HandleReports();
  HandleRetries();
  bool guests_changed = false;
  std::set<GuestId> frontends_changed;  // each is followed once, however often it changed
  Directory& directory = context_.hypervisor.directory();
  for (int i = 0; i < kEventsPerTurn; ++i) {
    const auto event = directory.NextEvent();
    if (!event) break;
    if (event->token == kGuestsToken) {
      guests_changed = true;
    } else if (const auto guest = GuestOfToken(event->token)) {
      frontends_changed.insert(*guest);
    } else if (observer_ != nullptr) {
      observer_->DirectoryChanged(*event);
    }
  }
  if (guests_changed) FollowGuests();
  for (const GuestId id : frontends_changed) Follow(id);
}

void Backend::Impl::Follow(GuestId id) {
  const auto at = connections_.find(id);
  if (at == connections_.end() || !at->second->FollowFrontend()) return;
  to_retry_.insert(id);
  RetrySoon();
}

void Backend::Impl::RetrySoon() {
  // The timer runs already for those that wait: who comes later must not put them off.
  if (std::exchange(retry_is_set_, true)) return;
  itimerspec when{};
  when.it_value.tv_nsec = std::chrono::nanoseconds(kRetryAfter).count();
  timerfd_settime(retry_timer_.get(), 0, &when, nullptr);
}

void Backend::Impl::HandleRetries() {
  if (!Drain(retry_timer_.get())) return;
  retry_is_set_ = false;
  for (const GuestId id : std::exchange(to_retry_, {})) Follow(id);
  if (std::exchange(guests_to_retry_, false)) FollowGuests();
}

void Backend::Impl::HandleReports() {
  if (!Drain(report_event_.get())) return;
  for (const auto& [id, connection] : connections_) connection->HandleReport();
}

void Backend::Impl::FollowGuests() {
  const auto guests = context_.hypervisor.Guests();
  if (!guests) {
    spdlog::error("cannot list the guests: {}", guests.error().message);
    return;
  }
  const auto runs = [&](GuestId id, const Uuid& uuid) {
    return std::ranges::any_of(
        *guests, [&](const GuestInfo& info) { return info.id == id && info.uuid == uuid; });
  };
  std::vector<GuestId> gone;
  for (const auto& [id, connection] : connections_) {
    if (!runs(id, connection->info().uuid)) gone.push_back(id);
  }
  for (const GuestId id : gone) RemoveGuest(id);
  std::erase_if(refused_, [&](const auto& guest) { return !runs(guest.first, guest.second); });
  for (const GuestInfo& info : *guests) {
    if (!connections_.contains(info.id) && !refused_.contains(info.id)) AddGuest(info);
  }
  RemoveSurvivors(*guests);
}

// Guests that the store has from a daemon before us, and that do not run any more or may not use
// tmem now. Those whose pages are still being found wait for AddGuest.
void Backend::Impl::RemoveSurvivors(const std::vector<GuestInfo>& guests) {
  for (const GuestIdentity& survivor : context_.store.Survivors()) {
    const bool runs = std::ranges::any_of(guests, [&](const GuestInfo& info) {
      return info.id == survivor.id && info.uuid == survivor.uuid;
    });
    if (runs && !refused_.contains(survivor.id)) continue;
    spdlog::info("guest {} ({}): {}; its pages are freed", survivor.id.value, survivor.name,
                 runs ? "may not use tmem any more" : "went while tmemd was away");
    context_.store.RemoveGuest(survivor.id);
  }
}

void Backend::Impl::AddGuest(const GuestInfo& info) {
  const auto settings = admit_(info);
  if (!settings) {
    refused_.emplace(info.id, info.uuid);
    if (guest_log_.Allow()) {
      spdlog::info("guest {} ({}): may not use tmem", info.id.value, info.name);
    }
    return;
  }
  auto guest =
      context_.store.AddGuest({.id = info.id, .uuid = info.uuid, .name = info.name}, *settings);
  if (!guest && guest.error().code == ErrorCode::kUnavailable) {
    guests_to_retry_ = true;
    return RetrySoon();
  }
  if (!guest) {
    spdlog::error("guest {} ({}): {}", info.id.value, info.name, guest.error().message);
    return;
  }
  auto connection = Connection::Create(context_, info, std::move(*guest));
  if (!connection) {
    spdlog::error("guest {} ({}): cannot make its device: {}", info.id.value, info.name,
                  connection.error().message);
    context_.store.RemoveGuest(info.id);
    return;
  }
  connections_.emplace(info.id, std::move(*connection));
  const auto watched = context_.hypervisor.directory().Watch(
      fmt::format("{}/{}", FrontendPath(info.id), keys::kState), TokenOf(info.id));
  if (!watched) {
    spdlog::error("guest {} ({}): cannot watch its frontend: {}", info.id.value, info.name,
                  watched.error().message);
  }
}

void Backend::Impl::RemoveGuest(GuestId id) {
  const auto at = connections_.find(id);
  if (guest_log_.Allow()) {
    spdlog::info("guest {} ({}): gone", id.value, at->second->info().name);
  }
  (void)context_.hypervisor.directory().Unwatch(
      fmt::format("{}/{}", FrontendPath(id), keys::kState), TokenOf(id));
  at->second->RemoveNodes();
  const GuestInfo info = at->second->info();
  connections_.erase(at);
  to_retry_.erase(id);
  context_.store.RemoveGuest(id);
  if (observer_ != nullptr) observer_->GuestGone(info);
}

std::vector<ConnectionInfo> Backend::Impl::Connections() const {
  std::vector<ConnectionInfo> infos;
  infos.reserve(connections_.size());
  for (const auto& [id, connection] : connections_) {
    infos.push_back({.guest = connection->info(),
                     .state = std::string(NameOf(connection->state())),
                     .reason = connection->reason(),
                     .queues = static_cast<uint32_t>(connection->queues()),
                     .requests = connection->requests(),
                     .notifications = connection->notifications()});
  }
  return infos;
}

std::optional<GuestInfo> Backend::Impl::Find(const std::string& guest) const {
  for (const auto& [id, connection] : connections_) {
    if (fmt::format("{}", id.value) == guest) return connection->info();
  }
  for (const auto& [id, connection] : connections_) {
    if (connection->info().name == guest) return connection->info();
  }
  return std::nullopt;
}

Result<void> Backend::Impl::Forgive(GuestId guest) {
  const auto at = connections_.find(guest);
  if (at == connections_.end()) {
    return Fail(ErrorCode::kNotFound, fmt::format("guest {} is not connected", guest.value));
  }
  at->second->Forgive();
  Follow(guest);
  return {};
}

Backend::Backend(Hypervisor& hypervisor, Store& store, QueueHost& host, const Clock& clock,
                 Admit admit, const WireLimits& limits, BackendObserver* observer)
    : impl_(std::make_unique<Impl>(hypervisor, store, host, clock, std::move(admit), limits,
                                   observer)) {}

Backend::~Backend() = default;

Result<void> Backend::Start() { return impl_->Start(); }
std::vector<int> Backend::PollFds() const { return impl_->PollFds(); }
void Backend::HandleEvents() { impl_->HandleEvents(); }
std::vector<ConnectionInfo> Backend::Connections() const { return impl_->Connections(); }
std::optional<GuestInfo> Backend::Find(const std::string& guest) const {
  return impl_->Find(guest);
}
Result<void> Backend::Forgive(GuestId guest) { return impl_->Forgive(guest); }

}  // namespace tmem
