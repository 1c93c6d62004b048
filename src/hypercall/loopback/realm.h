// What the server thread and the control thread share: the tree, and the guests that live now.
//
// Threads: any; one lock guards it all, and no system call is made under it. Whoever made watch
// events come up for others tells their threads afterwards: every call that may do so ends by
// waking through the Bells.
#ifndef TMEM_HYPERCALL_LOOPBACK_REALM_H_
#define TMEM_HYPERCALL_LOOPBACK_REALM_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "base/units.h"
#include "hypercall/loopback/bell.h"
#include "hypercall/loopback/channel.h"
#include "hypercall/loopback/guest_memory.h"
#include "hypercall/loopback/tree.h"
#include "hypercall/transport.h"

namespace tmem::loopback {

// The uuid of the guest with that name: the same in every life of the daemon.
Uuid UuidOfName(std::string_view name);

class Realm {
 public:
  // `backend_bell` rings when domain 0 has watch events, `server_bell` when a guest has. Both
  // outlive the realm.
  Realm(const Bell& backend_bell, const Bell& server_bell);

  // Tells this realm from any other: a guest that meets it again was released in between.
  const Uuid& instance() const { return instance_; }

  // ---- guests ----

  // Gives the guest a domid and its folder. kExists while one of that name lives; kExhausted when
  // no domid is free. A domid that was in use is free again when Guests() has told that it is
  // gone, so that nobody takes the new guest for the old one.
  Result<GuestId> Introduce(const std::string& name, std::shared_ptr<GuestMemory> memory);
  // The same for a guest that was introduced to a realm before this one, as `claimed`: it is that
  // guest still if it is expected under that name. kNotFound otherwise.
  Result<GuestId> Resume(GuestId claimed, const std::string& name,
                         std::shared_ptr<GuestMemory> memory);
  // Guests of a realm before this one, which are listed until they resume or the time is over.
  // REQUIRES: no guest was introduced yet.
  void Expect(std::span<const GuestInfo> guests, TimePoint deadline);
  // Releases those who did not come. Returns when to call this again: never if nobody is expected.
  TimePoint ReleaseOverdue(TimePoint now);
  // The guest is gone: its folder and watches go, its ports too. Mapped pages stay mapped.
  void Release(GuestId guest);

  struct NewPort {
    EventPort port;
    GuestEnd guest_end;
  };
  Result<NewPort> AllocPort(GuestId guest);

  std::vector<GuestInfo> Guests();
  Result<std::shared_ptr<GuestMemory>> MemoryOf(GuestId guest);
  Result<std::shared_ptr<Port>> PortOf(GuestId guest, EventPort port);

  // ---- the tree, with the rights of `who` ----

  Result<std::string> Read(GuestId who, const std::string& path);
  Result<std::vector<std::string>> List(GuestId who, const std::string& path);
  Result<void> Write(GuestId who, const std::string& path, const std::string& value);
  Result<void> WriteAll(std::span<const Directory::Node> nodes);
  Result<void> Remove(GuestId who, const std::string& path);
  Result<void> Watch(GuestId who, const std::string& path, const std::string& token);
  Result<void> Unwatch(GuestId who, const std::string& path, const std::string& token);
  std::optional<Directory::WatchEvent> NextEvent(GuestId who);

 private:
  struct Guest {
    GuestInfo info;
    std::shared_ptr<GuestMemory> memory;  // null: it is expected
    std::map<EventPort, std::shared_ptr<Port>> ports;
  };

  std::optional<GuestId> FreeDomid() TMEM_REQUIRES(mutex_);
  std::optional<GuestId> Named(const std::string& name) const TMEM_REQUIRES(mutex_);
  Result<void> WriteFolder(const GuestInfo& info) TMEM_REQUIRES(mutex_);
  // Returns what is to be destroyed without the lock.
  Guest Forget(GuestId guest) TMEM_REQUIRES(mutex_);
  // Does `action(tree)` under the lock and rings afterwards.
  template <class Action>
  Result<void> Change(Action action);
  void RingBells();

  const Bell& backend_bell_;
  const Bell& server_bell_;
  const Uuid instance_;
  Mutex mutex_{LockRank::kDirectory};
  Tree tree_ TMEM_GUARDED_BY(mutex_);
  std::map<GuestId, Guest> guests_ TMEM_GUARDED_BY(mutex_);
  std::set<GuestId> released_ TMEM_GUARDED_BY(mutex_);  // and Guests() was not called since
  uint16_t last_domid_ TMEM_GUARDED_BY(mutex_) = 0;
  TimePoint expected_until_ TMEM_GUARDED_BY(mutex_) = TimePoint::max();
};

}  // namespace tmem::loopback

#endif  // TMEM_HYPERCALL_LOOPBACK_REALM_H_
