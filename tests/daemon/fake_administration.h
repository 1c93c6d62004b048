// An Administration over a table of guests: what the control socket's requests act on in tests.
#ifndef TMEM_TESTS_DAEMON_FAKE_ADMINISTRATION_H_
#define TMEM_TESTS_DAEMON_FAKE_ADMINISTRATION_H_

#include <fmt/format.h>

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
  ConnectionInfo& connection(uint16_t id) { return guests_.at(id).connection; }
  StoreStats& store() { return host_.store; }
  const std::vector<GuestId>& flushed() const { return flushed_; }
  const std::vector<GuestId>& forgiven() const { return forgiven_; }
  LogLevel log_level() const { return host_.log_level; }

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

  Result<GuestSettings> Change(const GuestInfo& guest, const SettingChanges& changes) override {
    GuestSettings& settings = stats(guest.id.value).settings;
    auto changed = WithChanges(settings, changes);
    if (changed) settings = *changed;
    return changed;
  }

  Result<Bytes> Flush(GuestId id) override {
    flushed_.push_back(id);
    return MiB(1);
  }

  Result<Bytes> SetCapacity(Bytes capacity) override {
    if (capacity > kMaxCapacity) return Fail(ErrorCode::kInvalid, "above max-capacity");
    host_.store.capacity = capacity;
    return capacity;
  }

  Result<void> Forgive(GuestId id) override {
    forgiven_.push_back(id);
    return {};
  }

  void SetLogLevel(LogLevel level) override { host_.log_level = level; }

 private:
  struct Guest {
    ConnectionInfo connection;
    GuestStats stats;
  };

  std::map<uint16_t, Guest> guests_;
  std::vector<GuestId> flushed_;
  std::vector<GuestId> forgiven_;
  HostInfo host_{.hypervisor = "fake",
                 .max_capacity = kMaxCapacity,
                 .workers = 1,
                 .log_level = LogLevel::kInfo,
                 .store = {}};
};

}  // namespace tmem::daemon

#endif  // TMEM_TESTS_DAEMON_FAKE_ADMINISTRATION_H_
