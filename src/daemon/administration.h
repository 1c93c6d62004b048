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
#include "daemon/config.h"
#include "daemon/logging.h"
#include "hypercall/backend.h"
#include "pools/stats.h"

namespace tmem::daemon {

struct HostInfo {
  std::string hypervisor;
  Bytes max_capacity;
  size_t workers = 0;
  LogLevel log_level = LogLevel::kInfo;
  StoreStats store;
};

class Administration {
 public:
  virtual ~Administration() = default;

  virtual HostInfo Host() const = 0;
  virtual std::vector<ConnectionInfo> Connections() const = 0;
  // A guest by number or, if there is none, by name.
  virtual std::optional<ConnectionInfo> Find(const std::string& guest) const = 0;
  // kNotFound if the guest has gone.
  virtual Result<GuestStats> StatsOf(GuestId guest) const = 0;

  // Holds at once and until the daemon ends, also after a reboot of the guest. All or nothing.
  virtual Result<GuestSettings> Change(const GuestInfo& guest, const SettingChanges& changes) = 0;
  // Drops the guest's ephemeral pages; returns the bytes given back.
  virtual Result<Bytes> Flush(GuestId guest) = 0;
  // Returns the capacity in force: larger than asked while persistent pages hold more. kInvalid
  // above max_capacity.
  virtual Result<Bytes> SetCapacity(Bytes capacity) = 0;
  // Lets a guest that broke the protocol connect again.
  virtual Result<void> Forgive(GuestId guest) = 0;
  virtual void SetLogLevel(LogLevel level) = 0;
};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_ADMINISTRATION_H_
