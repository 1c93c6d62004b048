#include "daemon/service.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "daemon/knobs.h"

namespace tmem::daemon {

namespace {

WorkerConfig WorkerConfigOf(const Config& config) {
  return {.spin_limit = std::chrono::microseconds(config.spin_us), .zstd_level = config.zstd_level};
}

// Knobs that differ between the two and take effect in that way.
std::vector<std::string> Changed(const Config& before, const Config& after, Effect effect) {
  std::vector<std::string> names;
  for (const DaemonKnob& knob : DaemonKnobs()) {
    if (knob.effect == effect && knob.get(before) != knob.get(after)) names.push_back(knob.name);
  }
  return names;
}

}  // namespace

Result<std::unique_ptr<Service>> Service::Create(const Config& config,
                                                 std::unique_ptr<Hypervisor> hypervisor,
                                                 const Clock& clock) {
  std::unique_ptr<Service> service(new Service(config, std::move(hypervisor)));
  auto store = Store::Create({.path = config.store_path,
                              .recovery_threads = std::max(1u, std::thread::hardware_concurrency()),
                              .capacity = config.capacity,
                              .max_capacity = service->max_capacity_,
                              .shared_auth_default = config.shared_auth_default});
  if (!store) return std::unexpected(std::move(store).error().Within("store"));
  service->store_ = std::move(*store);

  const uint32_t count = config.workers != 0 ? config.workers : DefaultWorkers();
  auto workers = WorkerPool::Create(count, WorkerConfigOf(config), clock);
  if (!workers) return std::unexpected(std::move(workers).error());
  service->workers_ = std::move(*workers);

  const auto admit = [&registry = service->registry_](const GuestInfo& guest) {
    return registry.Admit(guest);
  };
  service->backend_ = std::make_unique<Backend>(*service->hypervisor_, *service->store_,
                                                *service->workers_, clock, admit, config.limits);
  return service;
}

Service::Service(const Config& config, std::unique_ptr<Hypervisor> hypervisor)
    : config_(config),
      max_capacity_(config.max_capacity != Bytes(0) ? config.max_capacity : config.capacity * 4),
      log_level_(config.log_level),
      registry_(config),
      hypervisor_(std::move(hypervisor)) {}

Service::~Service() = default;

std::vector<std::string> Service::Reload(const Config& config) {
  const auto live = Changed(config_, config, Effect::kReload);
  auto waiting = Changed(config_, config, Effect::kRestart);
  const Config before = std::exchange(config_, config);
  // What waits for a restart stays as it is, so that the next reload tells of it again.
  for (const DaemonKnob& knob : DaemonKnobs()) {
    if (knob.effect == Effect::kRestart) (void)knob.set(config_, knob.get(before));
  }
  registry_.Reload(config_);
  ApplyLive(before);
  spdlog::info("configuration reloaded, changed: {}",
               live.empty() ? "no service settings" : fmt::format("{}", fmt::join(live, ", ")));
  return waiting;
}

void Service::ApplyLive(const Config& before) {
  // Only what the file changed: what tmemctl set since stays.
  if (config_.capacity != before.capacity) {
    if (const auto set = SetCapacity(config_.capacity); !set) {
      spdlog::warn("capacity: {}", set.error().message);
    }
  }
  if (config_.log_level != before.log_level) SetLogLevel(config_.log_level);
  workers_->Configure(WorkerConfigOf(config_));
  for (const ConnectionInfo& connection : Connections()) {
    const GuestInfo& guest = connection.guest;
    if (const auto set = store_->Configure(guest.id, registry_.SettingsOf(guest)); !set) {
      spdlog::warn("guest {}: {}", guest.name, set.error().message);
    }
  }
}

std::optional<std::string> Service::RecoveryLine() const {
  const RecoveryProgress progress = store_->recovery_progress();
  if (progress.done()) return std::nullopt;
  return fmt::format("finding pages again: {} of {} guests ready, {} of {} searched, {} pages",
                     progress.guests_ready, progress.guests, HumanBytes(progress.searched),
                     HumanBytes(progress.segments), progress.pages);
}

std::string Service::StatusLine() const {
  if (auto recovering = RecoveryLine()) return *std::move(recovering);
  const StoreStats stats = store_->Stats();
  Bytes in_use{0};
  for (const Bytes bytes : stats.segments) in_use += bytes;
  return fmt::format("{} guests, {} of {} in use", stats.guests, HumanBytes(in_use),
                     HumanBytes(stats.capacity));
}

HostInfo Service::Host() const {
  return {.hypervisor = std::string(hypervisor_->name()),
          .max_capacity = max_capacity_,
          .workers = workers_->size(),
          .log_level = log_level_,
          .store = store_->Stats()};
}

std::optional<ConnectionInfo> Service::Find(const std::string& guest) const {
  const auto info = backend_->Find(guest);
  if (!info) return std::nullopt;
  const auto connections = Connections();
  const auto at = std::ranges::find_if(connections, [&](const ConnectionInfo& connection) {
    return connection.guest.id == info->id;
  });
  return at == connections.end() ? std::nullopt : std::optional(*at);
}

Result<GuestSettings> Service::Change(const GuestInfo& guest, const SettingChanges& changes) {
  auto settings = registry_.Preview(guest, changes);
  if (!settings) return settings;
  TMEM_TRY(store_->Configure(guest.id, *settings));
  registry_.Record(guest, changes);
  spdlog::info("guest {}: settings changed by an administrator", guest.name);
  return settings;
}

Result<Bytes> Service::SetCapacity(Bytes capacity) {
  if (capacity > max_capacity_) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("{} is above max-capacity, {}; raise that in the configuration and "
                            "restart tmemd",
                            FormatBytes(capacity), FormatBytes(max_capacity_)));
  }
  const Bytes in_force = store_->SetCapacity(capacity);
  spdlog::info("capacity: {}", HumanBytes(in_force));
  return in_force;
}

void Service::SetLogLevel(LogLevel level) {
  log_level_ = level;
  daemon::SetLogLevel(level);
}

}  // namespace tmem::daemon
