// An Administration over a table of guests: what the control socket's requests act on in tests.
#ifndef TMEM_TESTS_DAEMON_FAKE_ADMINISTRATION_H_
#define TMEM_TESTS_DAEMON_FAKE_ADMINISTRATION_H_

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "daemon/administration.h"
#include "daemon/knobs.h"

namespace tmem::daemon {

class FakeAdministration : public Administration {
 public:
  static constexpr Bytes kMaxCapacity = GiB(1);

  void AddGuest(uint16_t id, const std::string& name) {
    Guest& guest = guests_[id];
    guest.connection.guest = {.id = {id}, .name = name, .uuid = Uuid{{id, id}}};
    guest.connection.state = "connected";
    guest.connection.queues = 1;
    guest.stats.id = {id};
  }

  GuestStats& stats(uint16_t id) { return guests_.at(id).stats; }
  GuestShare& share(uint16_t id) { return guests_.at(id).share; }
  std::vector<History::Sample>& history(uint16_t id) { return guests_.at(id).history; }
  ConnectionInfo& connection(uint16_t id) { return guests_.at(id).connection; }
  StoreStats& store() { return host_.store; }
  std::optional<Following>& following() { return host_.following; }
  const std::vector<GuestId>& flushed() const { return flushed_; }
  const std::vector<GuestId>& forgiven() const { return forgiven_; }
  const Config& config() const { return host_.config; }
  const std::vector<GuestId>& persisted() const { return persisted_; }
  // What Reclaim will find.
  void SetReclaimable(Bytes bytes) { reclaimable_ = bytes; }
  // nullptr: there is no directory for tools.
  void SetDirectory(Directory* directory) { directory_ = directory; }

  HostInfo Host() const override { return host_; }

  std::vector<ConnectionInfo> Connections() const override {
    std::vector<ConnectionInfo> connections;
    for (const auto& [id, guest] : guests_) connections.push_back(guest.connection);
    return connections;
  }

  std::optional<ConnectionInfo> Find(const std::string& wanted) const override {
    for (const auto& [id, guest] : guests_) {
      if (fmt::format("{}", id) == wanted) return guest.connection;
    }
    for (const auto& [id, guest] : guests_) {
      if (guest.connection.guest.name == wanted) return guest.connection;
    }
    return std::nullopt;
  }

  Result<GuestStats> StatsOf(GuestId id) const override { return guests_.at(id.value).stats; }

  Result<GuestShare> ShareOf(GuestId id) const override { return guests_.at(id.value).share; }

  Result<std::vector<History::Sample>> HistoryOf(GuestId id) const override {
    return guests_.at(id.value).history;
  }

  Result<GuestSettings> Change(const GuestInfo& guest, const SettingEdits& edits,
                               Persist persist) override {
    Guest& known = guests_.at(guest.id.value);
    const auto all = Edited(known.changes, edits);
    auto changed = WithChanges(GuestSettings{}, all);
    if (!changed) return changed;
    known.changes = all;
    known.stats.settings = *changed;
    if (persist == Persist::kYes) persisted_.push_back(guest.id);
    return changed;
  }

  Result<void> ChangeHost(const SettingEdits& edits) override {
    auto config = WithChanges(Config{}, Edited(host_changes_, edits));
    if (!config) return std::unexpected(std::move(config).error());
    if (config->capacity.value_or(Bytes(0)) > kMaxCapacity)
      return Fail(ErrorCode::kInvalid, "above max-capacity");
    host_changes_ = Edited(host_changes_, edits);
    host_.config = *config;
    host_.store.capacity = config->capacity.value_or(config->min_capacity);
    return {};
  }

  Result<Bytes> Flush(GuestId id) override {
    flushed_.push_back(id);
    return MiB(1);
  }

  Reclaimed Reclaim(Bytes wanted) override {
    return {.given_back = std::min(wanted, reclaimable_),
            .capacity_before = MiB(64),
            .capacity = MiB(32),
            .ephemeral = Bytes(0),
            .persistent = MiB(30)};
  }

  Result<void> Forgive(GuestId id) override {
    forgiven_.push_back(id);
    return {};
  }

  Result<Directory*> DirectoryForTools() override {
    if (directory_ == nullptr) return Fail(ErrorCode::kUnsupported, "use xenstore-read");
    return directory_;
  }

 private:
  struct Guest {
    ConnectionInfo connection;
    GuestStats stats;
    GuestShare share;
    std::vector<History::Sample> history;
    SettingChanges changes;
  };

  std::map<uint16_t, Guest> guests_;
  std::vector<GuestId> flushed_;
  std::vector<GuestId> forgiven_;
  std::vector<GuestId> persisted_;
  Bytes reclaimable_;
  SettingChanges host_changes_;
  Directory* directory_ = nullptr;
  HostInfo host_{.hypervisor = "fake",
                 .config = {},
                 .max_capacity = kMaxCapacity,
                 .following = {},
                 .workers = 1,
                 .store = {}};
};

}  // namespace tmem::daemon

#endif  // TMEM_TESTS_DAEMON_FAKE_ADMINISTRATION_H_
