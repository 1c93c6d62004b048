// A hypervisor for tests: all of it in this process, no thread of its own, and it fails on demand.
//
// A guest's memory is one mapping that guest and backend see at the same address when the mapped
// references are consecutive, so that ThreadSanitizer follows what the ring orders.
//
// Threads: as transport.h says. A FakeGuest's pages and a FakePort may be used by any thread; all
// else belongs to the thread that plays the control thread.
#ifndef TMEM_TESTS_HYPERCALL_FAKE_HYPERVISOR_H_
#define TMEM_TESTS_HYPERCALL_FAKE_HYPERVISOR_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "hypercall/transport.h"

namespace tmem {

// A notification that waits until somebody looks.
class Bell {
 public:
  Bell();
  int fd() const { return fd_.get(); }
  void Ring();
  // True if it was rung since the last call.
  bool Silence();

 private:
  UniqueFd fd_;
};

class FakeDirectory final : public Directory {
 public:
  Result<std::string> Read(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& path) override;
  Result<void> Write(const std::string& path, const std::string& value) override;
  Result<void> WriteAll(std::span<const Node> nodes) override;
  Result<void> Remove(const std::string& path) override;
  Result<void> Watch(const std::string& path, const std::string& token) override;
  Result<void> Unwatch(const std::string& path, const std::string& token) override;
  int fd() const override { return events_bell_.fd(); }
  std::optional<WatchEvent> NextEvent() override;

  // Reports a change of `path`, as the special paths for guests need it.
  void Fire(std::string_view path);
  // From now on reads fail with that error; nullopt: they work again.
  void FailReads(std::optional<ErrorCode> error) { read_error_ = error; }
  void FailWrites(std::optional<ErrorCode> error) { write_error_ = error; }

  bool Exists(const std::string& path) const { return nodes_.contains(path); }
  // What was written last, however reads fail; "" if there is no such node.
  std::string ValueOf(const std::string& path) const;
  // As set on the node or inherited from the nearest node above that has some.
  Permissions PermissionsOf(const std::string& path) const;
  // Values that the node had, oldest first, since it was last asked.
  std::vector<std::string> TakeHistory(const std::string& path);
  size_t watches() const { return watches_.size(); }
  uint64_t reads() const { return reads_; }

 private:
  struct Entry {
    std::string value;
    std::optional<Permissions> permissions;
  };
  void Put(const std::string& path, const std::string& value);

  std::map<std::string, Entry> nodes_;
  std::map<std::string, std::vector<std::string>> history_;
  std::vector<std::pair<std::string, std::string>> watches_;  // path, token
  std::deque<WatchEvent> events_;
  Bell events_bell_;
  std::optional<ErrorCode> read_error_;
  std::optional<ErrorCode> write_error_;
  uint64_t reads_ = 0;
};

// One event channel, both ends.
struct FakePort {
  Bell to_backend;
  Bell to_guest;
  std::atomic<uint64_t> notifications_to_guest{0};
  std::atomic<bool> bound{false};
};

// The memory and the ports of one guest. Outlives the guest while something of it is mapped.
class FakeGuest {
 public:
  static constexpr size_t kMaxPages = 8192;
  static constexpr uint32_t kFirstRef = 8;  // Xen keeps the first eight for itself

  explicit FakeGuest(GuestInfo info);
  ~FakeGuest();
  FakeGuest(const FakeGuest&) = delete;
  FakeGuest& operator=(const FakeGuest&) = delete;

  const GuestInfo& info() const { return info_; }

  // Grants so many fresh pages, zeroed, with consecutive references; returns the first.
  GrantRef Grant(size_t pages);
  // The guest's view of granted pages.
  std::span<std::byte> Pages(GrantRef first, size_t count) const;
  bool Granted(GrantRef ref) const;
  void Revoke(GrantRef ref) { revoked_.insert(ref); }
  int memory_fd() const { return memory_fd_.get(); }

  EventPort AllocPort();
  // Null: no such port.
  std::shared_ptr<FakePort> port(EventPort port) const;

 private:
  const GuestInfo info_;
  UniqueFd memory_fd_;
  std::byte* memory_ = nullptr;
  size_t granted_ = 0;
  std::set<GrantRef> revoked_;
  std::vector<std::shared_ptr<FakePort>> ports_;
};

class FakeHypervisor final : public Hypervisor {
 public:
  std::string_view name() const override { return "fake"; }
  FakeDirectory& directory() override { return directory_; }
  Result<std::vector<GuestInfo>> Guests() override;
  std::map<GuestId, Bytes> Surrendered() override { return surrendered; }
  Result<PhysicalMemory> Memory() override;
  Result<void> SetBackendTarget(Bytes target) override;
  Result<std::unique_ptr<SharedPages>> Map(GuestId guest, std::span<const GrantRef> refs) override;
  Result<std::unique_ptr<EventChannel>> Bind(GuestId guest, EventPort port) override;

  std::shared_ptr<FakeGuest> AddGuest(uint16_t domid, std::string_view name, const Uuid& uuid);
  // Null: no such guest.
  std::shared_ptr<FakeGuest> GuestOf(uint16_t domid) const;
  // Its folder goes, and the release is reported.
  void RemoveGuest(uint16_t domid);

  // From now on mapping fails with that error; nullopt: it works again.
  void FailMaps(std::optional<ErrorCode> error) { map_error_ = error; }
  // From now on binding any port is answered kUnavailable, as if a dying process held it.
  void HoldPorts(bool hold) { ports_held_ = hold; }

  std::map<GuestId, Bytes> surrendered;
  std::optional<PhysicalMemory> memory;  // absent: the hypervisor does not tell
  bool fail_targets = false;

  uint64_t maps() const { return maps_; }
  uint64_t binds() const { return binds_; }
  // Mappings that exist now.
  int64_t mapped() const { return *mapped_; }

 private:
  FakeDirectory directory_;
  std::map<GuestId, std::shared_ptr<FakeGuest>> guests_;
  std::optional<ErrorCode> map_error_;
  bool ports_held_ = false;
  uint64_t maps_ = 0;
  uint64_t binds_ = 0;
  std::shared_ptr<std::atomic<int64_t>> mapped_ = std::make_shared<std::atomic<int64_t>>(0);
};

}  // namespace tmem

#endif  // TMEM_TESTS_HYPERCALL_FAKE_HYPERVISOR_H_
