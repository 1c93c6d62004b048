// Which guests may use tmem, and with which settings. These stand over each other, the strongest
// last:
//
//   the defaults of the program
//   [guest-defaults] of the configuration, and keys of xenstore for them
//   [guest."NAME"] of the configuration (that with the guest's uuid, or else that with its name)
//   the guest's file, guests.d/NAME.toml (the same)
//   keys of xenstore, which are gone with the guest
//   what tmemctl set, kept by the guest's uuid as long as the store lives
//
// Not thread-safe: belongs to the control thread.
#ifndef TMEM_DAEMON_GUEST_REGISTRY_H_
#define TMEM_DAEMON_GUEST_REGISTRY_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "daemon/config.h"
#include "daemon/knobs.h"
#include "hypercall/transport.h"
#include "pools/settings.h"

namespace tmem::daemon {

class GuestRegistry {
 public:
  // `by_command` is what a daemon before this one was told, by guest.
  explicit GuestRegistry(const Config& config, std::map<Uuid, SettingChanges> by_command = {})
      : by_command_(std::move(by_command)) {
    Reload(config);
  }

  // REQUIRES: the configuration is one that LoadConfig returned.
  void Reload(const Config& config);

  bool Allows(const GuestInfo& guest) const;
  GuestSettings SettingsOf(const GuestInfo& guest) const;

  LiveChanges LiveChangesOf(const GuestInfo& guest) const;
  // What SettingsOf would say after Record; kInvalid if the settings contradict each other then.
  Result<GuestSettings> Preview(const GuestInfo& guest, const LiveChanges& changes) const;
  // REQUIRES: Preview accepted the changes.
  void Record(const GuestInfo& guest, LiveChanges changes);
  const std::map<Uuid, SettingChanges>& by_command() const { return by_command_; }
  // The guest is gone, and its keys with it.
  void ForgetKeys(const GuestInfo& guest) { by_key_.erase(guest.id); }

  // The name of the guest's file: that of the one that is there, its name, or its uuid if no file
  // can have its name.
  std::string FileNameOf(const GuestInfo& guest) const;
  // Would the files be right if the guest's one were edited so?
  Result<void> CheckFile(const GuestInfo& guest, const SettingEdits& edits) const;

 private:
  SettingChanges FilesOf(const GuestInfo& guest) const;

  GuestSettings defaults_;
  std::map<std::string, SettingChanges> sections_;  // by name or uuid
  std::map<std::string, SettingChanges> files_;     // by name or uuid
  std::vector<std::string> allowed_;
  std::map<GuestId, SettingChanges> by_key_;
  std::map<Uuid, SettingChanges> by_command_;
};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_GUEST_REGISTRY_H_
