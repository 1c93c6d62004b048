// Which guests may use tmem, and with which settings.
//
// A guest's settings are [guest-defaults], then its section of the configuration file (that with
// its uuid, or else that with its name), then what an administrator changed while the daemon ran.
// Those changes are kept by the guest's name, so that they outlive its reboots and reloads of the
// file, until the daemon ends.
//
// Not thread-safe: belongs to the control thread.
#ifndef TMEM_DAEMON_GUEST_REGISTRY_H_
#define TMEM_DAEMON_GUEST_REGISTRY_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "daemon/config.h"
#include "hypercall/transport.h"
#include "pools/settings.h"

namespace tmem::daemon {

class GuestRegistry {
 public:
  explicit GuestRegistry(const Config& config) { Reload(config); }

  // REQUIRES: the configuration is one that LoadConfig returned.
  void Reload(const Config& config);

  // The settings of a guest that is allowed; nullopt refuses it.
  std::optional<GuestSettings> Admit(const GuestInfo& guest) const;

  GuestSettings SettingsOf(const GuestInfo& guest) const;

  // What SettingsOf would say after Record; kInvalid if the settings contradict each other then.
  Result<GuestSettings> Preview(const GuestInfo& guest, const SettingChanges& changes) const;
  // REQUIRES: Preview accepted the changes.
  void Record(const GuestInfo& guest, const SettingChanges& changes);

 private:
  GuestSettings ConfiguredFor(const GuestInfo& guest) const;

  GuestSettings defaults_;
  std::map<std::string, SettingChanges> sections_;  // by name or uuid
  std::vector<std::string> allowed_;
  std::map<std::string, SettingChanges> changed_;  // by name
};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_GUEST_REGISTRY_H_
