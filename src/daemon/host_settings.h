// The daemon's settings as in force: the configuration, over it keys of xenstore, over these what
// tmemctl set.
//
// Not thread-safe: belongs to the control thread.
#ifndef TMEM_DAEMON_HOST_SETTINGS_H_
#define TMEM_DAEMON_HOST_SETTINGS_H_

#include <string>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "daemon/config.h"
#include "daemon/knobs.h"

namespace tmem::daemon {

class HostSettings {
 public:
  // `by_command` is what a daemon before this one was told.
  explicit HostSettings(const Config& config, SettingChanges by_command = {});

  // As in force; what waits for a restart is as it was at the start.
  const Config& config() const { return in_force_; }
  // How far the capacity can be raised, fixed at the start.
  Bytes max_capacity() const { return max_capacity_; }

  // The configuration was read again. Returns the names of changed knobs that wait for a restart.
  // Live changes that contradict it are set aside while they do.
  std::vector<std::string> Reload(const Config& config);

  const LiveChanges& live_changes() const { return live_; }
  // What config() would be after Record; kInvalid for what contradicts itself.
  Result<Config> Preview(const LiveChanges& changes) const;
  // REQUIRES: Preview accepted the changes.
  void Record(LiveChanges changes);

  // What a guest's file says now.
  void SetGuestFile(const std::string& name, const SettingChanges& changes);

 private:
  void Settle();

  const Bytes max_capacity_;
  Config files_;
  LiveChanges live_;
  Config in_force_;
};

// Names of knobs that differ between the two and take effect in that way.
std::vector<std::string> ChangedKnobs(const Config& before, const Config& after, Effect effect);

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_HOST_SETTINGS_H_
