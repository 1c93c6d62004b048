#include "daemon/service.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <span>
#include <thread>
#include <utility>

#include "daemon/guest_files.h"
#include "daemon/knobs.h"
#include "daemon/service_tuning.h"
#include "pools/segment.h"

namespace tmem::daemon {

namespace {

// How often policies learn, and guests are looked at.
constexpr std::chrono::seconds kTickInterval{1};

WorkerConfig WorkerConfigOf(const Config& config) {
  return {.spin_limit = std::chrono::microseconds(config.spin_us), .zstd_level = config.zstd_level};
}

// What a tick scrubs of so many persistent pages, a tick being a second. A small store is gone
// through sooner than it must be; a large one never takes more than some milliseconds of a tick.
PageCount PagesToScrub(uint64_t stored, uint32_t hours) {
  constexpr uint64_t kLeast = 256;
  constexpr uint64_t kMost = 4096;
  if (hours == 0) return PageCount(0);
  return PageCount(std::clamp(stored / (uint64_t{hours} * 3600) + 1, kLeast, kMost));
}

FollowLimits LimitsOf(const HostSettings& host) {
  const Config& config = host.config();
  return {.min_capacity = config.min_capacity,
          .max_capacity = host.max_capacity(),
          .host_reserve = config.host_reserve,
          .dom0_reserve = config.dom0_reserve,
          .free_request = config.free_request};
}

Bytes Total(const Bytes (&segments)[kPageClasses]) {
  Bytes total{0};
  for (const Bytes bytes : segments) total += bytes;
  return total;
}

}  // namespace

Result<std::unique_ptr<Service>> Service::Create(const Config& config,
                                                 std::unique_ptr<Hypervisor> hypervisor,
                                                 const Clock& clock, Dom0Memory dom0) {
  auto by_command =
      config.store_path.empty() ? CommandChanges() : LoadCommandChanges(config.store_path);
  std::unique_ptr<Service> service(
      new Service(config, std::move(by_command), std::move(hypervisor), clock, std::move(dom0)));
  const Config& in_force = service->host_.config();
  SetLogLevel(in_force.log_level);
  auto store = Store::Create({.path = in_force.store_path,
                              .recovery_threads = std::max(1u, std::thread::hardware_concurrency()),
                              .capacity = in_force.capacity.value_or(
                                  service->capacity_.InitialCapacity(LimitsOf(service->host_))),
                              .max_capacity = service->host_.max_capacity(),
                              .shared_auth_default = in_force.shared_auth_default,
                              .policy = in_force.policy});
  if (!store) return std::unexpected(std::move(store).error().Within("store"));
  service->store_ = std::move(*store);
  service->recompression_ = std::make_unique<Recompression>(
      *service->store_, clock, PageCodec::Config{.zstd_level = in_force.zstd_level});

  const uint32_t count = in_force.workers != 0 ? in_force.workers : DefaultWorkers();
  auto workers = WorkerPool::Create(count, WorkerConfigOf(in_force), clock);
  if (!workers) return std::unexpected(std::move(workers).error());
  service->workers_ = std::move(*workers);

  Service& self = *service;
  self.host_tunable_ = std::make_unique<HostTunable>(self);
  self.tuning_ =
      std::make_unique<Tuning>(self.hypervisor_->directory(), clock, *self.host_tunable_);
  self.stats_keys_ = std::make_unique<StatsKeys>(self.hypervisor_->directory());
  self.backend_ = std::make_unique<Backend>(
      *self.hypervisor_, *self.store_, *self.workers_, clock,
      [&self](const GuestInfo& guest) { return self.Admit(guest); }, config.limits, &self);
  return service;
}

Service::Service(const Config& config, CommandChanges by_command,
                 std::unique_ptr<Hypervisor> hypervisor, const Clock& clock, Dom0Memory dom0)
    : clock_(clock),
      host_(config, std::move(by_command.host)),
      registry_(host_.config(), std::move(by_command.guests)),
      hypervisor_(std::move(hypervisor)),
      capacity_(*hypervisor_, clock, std::move(dom0)) {}

Service::~Service() = default;

Result<void> Service::Start() {
  if (auto started = tuning_->Start(); !started) {
    return std::unexpected(std::move(started).error().Within("xenstore"));
  }
  if (auto started = capacity_.Start(); !started) {
    return std::unexpected(std::move(started).error().Within("xenstore"));
  }
  ConfigureCapacity();
  TMEM_TRY(backend_->Start());
  std::set<GuestId> guests;
  for (const ConnectionInfo& connection : Connections()) guests.insert(connection.guest.id);
  tuning_->RemoveStrangers(guests);
  return {};
}

TimePoint Service::due() const { return std::min({tuning_->due(), capacity_.due(), tick_due_}); }

void Service::DoWhatIsDue() {
  const TimePoint now = clock_.Now();
  if (now >= tuning_->due()) tuning_->ReadChanged();
  if (now >= capacity_.due()) capacity_.Look(*store_);
  if (now >= tick_due_) Tick(now);
}

void Service::Tick(TimePoint now) {
  tick_due_ = now + kTickInterval;
  for (const auto& [guest, surrendered] : hypervisor_->Surrendered()) {
    (void)store_->SetSurrendered(guest, surrendered);  // one that is not admitted, or has gone
  }
  store_->Tick(now);
  std::vector<GuestStats> guests;
  for (const ConnectionInfo& connection : Connections()) {
    if (auto stats = StatsOf(connection.guest.id)) guests.push_back(*std::move(stats));
  }
  stats_keys_->Update(guests);
  history_.Note(guests, now);
  uint64_t persistent_pages = 0;
  for (const GuestStats& guest : guests) {
    persistent_pages += guest.stored[static_cast<size_t>(PageClass::kPersistent)].pages;
  }
  Scrub(persistent_pages);
}

void Service::Scrub(uint64_t pages_stored) {
  constexpr size_t kMostLogged = 8;
  const auto corrupt = store_->Scrub(PagesToScrub(pages_stored, host_.config().scrub_hours));
  for (const CorruptPage& page : std::span(corrupt).first(std::min(corrupt.size(), kMostLogged))) {
    const auto& [low, middle, high] = page.handle.object.words;
    spdlog::error(
        "guest {}: page {} of object {:x}:{:x}:{:x} in pool {} does not match its checksum; gets "
        "of it will fail. Test this host's memory.",
        page.guest.value, page.handle.index.value, low, middle, high, page.handle.pool.value);
  }
  if (corrupt.size() > kMostLogged) {
    spdlog::error("{} more pages do not match their checksums", corrupt.size() - kMostLogged);
  }
}

std::optional<GuestSettings> Service::Admit(const GuestInfo& guest) {
  if (!registry_.Allows(guest)) return std::nullopt;
  tuning_->Follow(guest, std::make_unique<GuestTunable>(*this, guest));
  return registry_.SettingsOf(guest);
}

void Service::GuestGone(const GuestInfo& guest) {
  tuning_->Forget(guest);
  stats_keys_->Forget(guest.id);
  history_.Forget(guest.id);
  registry_.ForgetKeys(guest);
}

void Service::DirectoryChanged(const Directory::WatchEvent& event) {
  if (event.token == kTuningToken) tuning_->Note(event.path);
  if (event.token == kHostMemoryToken) capacity_.Note();
}

std::vector<std::string> Service::Reload(const Config& config) {
  const Config before = host_.config();
  auto waiting = host_.Reload(config);
  Apply(before);
  const auto live = ChangedKnobs(before, host_.config(), Effect::kReload);
  spdlog::info("configuration reloaded, changed: {}",
               live.empty() ? "no service settings" : fmt::format("{}", fmt::join(live, ", ")));
  return waiting;
}

void Service::Apply(const Config& before) {
  const Config& now = host_.config();
  if (now.capacity != before.capacity && now.capacity) {
    spdlog::info("capacity: {}", HumanBytes(store_->SetCapacity(*now.capacity)));
  } else if (now.capacity != before.capacity) {
    spdlog::info("capacity: follows the host");
  }
  ConfigureCapacity();
  if (now.policy != before.policy) {
    (void)store_->SetPolicy(now.policy);  // the knobs allow nothing else
    spdlog::info("policy: {}", NameOf(now.policy.kind));
  }
  if (now.log_level != before.log_level) SetLogLevel(now.log_level);
  workers_->Configure(WorkerConfigOf(now));
  registry_.Reload(now);
  for (const ConnectionInfo& connection : Connections()) Configure(connection.guest);
  tuning_->ReadAll();
}

void Service::ConfigureCapacity() {
  const FollowLimits limits = LimitsOf(host_);
  if (const auto fixed = host_.config().capacity) {
    capacity_.Keep(*fixed, limits);
  } else {
    capacity_.Follow(limits);
  }
}

void Service::Configure(const GuestInfo& guest) {
  const auto set = store_->Configure(guest.id, registry_.SettingsOf(guest));
  // One that is not in the store yet is about to be added with these settings.
  if (!set && set.error().code != ErrorCode::kNotFound) {
    spdlog::warn("guest {}: {}", guest.name, set.error().message);
  }
  recompression_->Wake();
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
  return fmt::format("{} guests, {} of {} in use", stats.guests, HumanBytes(Total(stats.segments)),
                     HumanBytes(stats.capacity));
}

HostInfo Service::Host() const {
  return {.hypervisor = std::string(hypervisor_->name()),
          .config = host_.config(),
          .max_capacity = host_.max_capacity(),
          .following = capacity_.following(),
          .workers = workers_->size(),
          .store = store_->Stats(),
          .operation_times = workers_->Times()};
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

Result<std::vector<History::Sample>> Service::HistoryOf(GuestId guest) const {
  const auto stats = StatsOf(guest);
  if (!stats) return std::unexpected(stats.error());
  return history_.Of(*stats, clock_.Now());
}

Result<GuestSettings> Service::Change(const GuestInfo& guest, const SettingEdits& edits,
                                      Persist persist) {
  LiveChanges live = registry_.LiveChangesOf(guest);
  live.by_command = Edited(std::move(live.by_command), edits);
  const auto settings = registry_.Preview(guest, live);
  if (!settings) return settings;
  if (persist == Persist::kYes) TMEM_TRY(WriteFile(guest, edits, live));
  RecordGuest(guest, std::move(live));
  Configure(guest);
  tuning_->Note(GuestTuningPath(guest.id));
  spdlog::info("guest {}: settings changed by an administrator", guest.name);
  return registry_.SettingsOf(guest);
}

void Service::RecordGuest(const GuestInfo& guest, LiveChanges changes) {
  registry_.Record(guest, std::move(changes));
  SaveCommandChanges();
}

void Service::RecordHost(LiveChanges changes) {
  host_.Record(std::move(changes));
  SaveCommandChanges();
}

void Service::SaveCommandChanges() const {
  const std::string& folder = host_.config().store_path;
  if (folder.empty()) return;
  const auto saved = daemon::SaveCommandChanges(
      folder, {.host = host_.live_changes().by_command, .guests = registry_.by_command()});
  if (!saved) {
    spdlog::error("what tmemctl set will not outlive this daemon: {}", saved.error().message);
  }
}

// Writes the edits into the guest's file. From then on they are the file's, unless a key stands
// over it: then they stay in `live` as well, so that they hold.
Result<void> Service::WriteFile(const GuestInfo& guest, const SettingEdits& edits,
                                LiveChanges& live) {
  TMEM_TRY(registry_.CheckFile(guest, edits));
  const std::string name = registry_.FileNameOf(guest);
  const auto file = WriteGuestFile(host_.config().guest_folder, name, edits);
  if (!file) return std::unexpected(file.error());
  host_.SetGuestFile(name, *file);
  registry_.Reload(host_.config());
  for (const auto& [setting, value] : edits.changes) {
    if (!live.by_key.contains(setting)) live.by_command.erase(setting);
  }
  return {};
}

Result<void> Service::ChangeHost(const SettingEdits& edits) {
  LiveChanges live = host_.live_changes();
  live.by_command = Edited(std::move(live.by_command), edits);
  if (const auto config = host_.Preview(live); !config) return std::unexpected(config.error());
  const Config before = host_.config();
  RecordHost(std::move(live));
  Apply(before);
  return {};
}

Reclaimed Service::Reclaim(Bytes wanted) {
  const StoreStats before = store_->Stats();
  const Bytes in_use = Total(before.segments);
  const Bytes least(kSegmentSize);
  // The store keeps off what it gives back: its capacity becomes what it still uses.
  const Bytes in_force = store_->SetCapacity(in_use > wanted ? in_use - wanted : least);
  const Bytes capacity = std::max(store_->SetCapacity(in_force), least);
  const StoreStats after = store_->Stats();
  const Bytes left = Total(after.segments);

  LiveChanges live = host_.live_changes();
  live.by_command["capacity"] = FormatBytes(capacity);
  RecordHost(std::move(live));
  ConfigureCapacity();
  tuning_->Note(kTuningPath);
  const Reclaimed reclaimed{.given_back = in_use > left ? in_use - left : Bytes(0),
                            .capacity_before = before.capacity,
                            .capacity = capacity,
                            .ephemeral = after.segments[static_cast<int>(PageClass::kEphemeral)],
                            .persistent = after.segments[static_cast<int>(PageClass::kPersistent)]};
  spdlog::info("reclaim: {} of {} given back, capacity {}", HumanBytes(reclaimed.given_back),
               HumanBytes(wanted), HumanBytes(capacity));
  return reclaimed;
}

Result<Directory*> Service::DirectoryForTools() {
  if (hypervisor_->name() == "xen") {
    return Fail(ErrorCode::kUnsupported,
                "Xen has a xenstore of its own; use xenstore-read, xenstore-write, xenstore-ls and "
                "xenstore-watch");
  }
  return &hypervisor_->directory();
}

}  // namespace tmem::daemon
