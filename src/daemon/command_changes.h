// What tmemctl set, beside the pages that outlive the daemon: `settings.json` in the store's
// folder, so that the next daemon on that store goes on with it. It lives as long as the store
// does.
//
//   {"host": {"capacity": "64M"}, "guests": {"UUID": {"weight": 200}}}
//
// Not thread-safe.
#ifndef TMEM_DAEMON_COMMAND_CHANGES_H_
#define TMEM_DAEMON_COMMAND_CHANGES_H_

#include <map>
#include <string>

#include "base/result.h"
#include "base/units.h"
#include "daemon/config.h"

namespace tmem::daemon {

struct CommandChanges {
  SettingChanges host{};
  std::map<Uuid, SettingChanges> guests{};

  bool operator==(const CommandChanges&) const = default;
};

// Nothing if there is no file. What this version does not understand, one setting or the whole
// file, is left out and told in the log: pages are served in any case.
CommandChanges LoadCommandChanges(const std::string& store_folder);
Result<void> SaveCommandChanges(const std::string& store_folder, const CommandChanges& changes);

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_COMMAND_CHANGES_H_
