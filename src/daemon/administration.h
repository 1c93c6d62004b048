// What an administrator can do to a running daemon, as calls. The control socket's requests end
// here; Service is the real one, tests have their own.
//
// Threads: the control thread.
#ifndef TMEM_DAEMON_ADMINISTRATION_H_
#define TMEM_DAEMON_ADMINISTRATION_H_

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "daemon/capacity_follower.h"
#include "daemon/config.h"
#include "daemon/history.h"
#include "daemon/knobs.h"
#include "hypercall/backend.h"
#include "hypercall/operation_times.h"
#include "hypercall/transport.h"
#include "pools/shares.h"
#include "pools/stats.h"

namespace tmem::daemon {

struct HostInfo {
  std::string hypervisor;
  Config config;  // as in force
  Bytes max_capacity;
  std::optional<Following> following{};  // absent: the capacity does not follow the host
  size_t workers = 0;
  StoreStats store;
  OperationTimes::Snapshot operation_times{};
};

// What came of asking for memory back.
struct Reclaimed {
  Bytes given_back;
  Bytes capacity_before;
  Bytes capacity;    // lowered, so that the store does not take the memory again
  Bytes ephemeral;   // still in use by pages that could be dropped
  Bytes persistent;  // in use by pages that may not
};

enum class Persist : bool { kNo, kYes };

class Administration {
 public:
  virtual ~Administration() = default;

  virtual HostInfo Host() const = 0;
  virtual std::vector<ConnectionInfo> Connections() const = 0;
  // A guest by number or, if there is none, by name.
  virtual std::optional<ConnectionInfo> Find(const std::string& guest) const = 0;
  // kNotFound if the guest has gone.
  virtual Result<GuestStats> StatsOf(GuestId guest) const = 0;
  // What the guest is entitled to, and why it lacked memory. kNotFound if it has gone.
  virtual Result<GuestShare> ShareOf(GuestId guest) const = 0;
  // The guest's last hour, oldest sample first. kNotFound if it has gone.
  virtual Result<std::vector<History::Sample>> HistoryOf(GuestId guest) const = 0;

  // Holds at once and as long as the store, also after a reboot of the guest; persisted, it is
  // written into the guest's file and holds for good. All or nothing.
  virtual Result<GuestSettings> Change(const GuestInfo& guest, const SettingEdits& edits,
                                       Persist persist) = 0;
  // The same for the host's settings; a capacity in force may be larger than asked while persistent
  // pages hold more. kInvalid above max_capacity.
  virtual Result<void> ChangeHost(const SettingEdits& edits) = 0;
  // Drops the guest's ephemeral pages; returns the bytes given back.
  virtual Result<Bytes> Flush(GuestId guest) = 0;
  // Gives memory back to the host, as much of `wanted` as ephemeral pages hold, from those guests
  // first that are furthest above their shares.
  virtual Reclaimed Reclaim(Bytes wanted) = 0;
  // Lets a guest that broke the protocol connect again.
  virtual Result<void> Forgive(GuestId guest) = 0;

  // The directory of a hypervisor that gives no other way to it: kUnsupported on Xen, which has
  // xenstore's own tools.
  virtual Result<Directory*> DirectoryForTools() = 0;
};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_ADMINISTRATION_H_
