// Files of single guests, guests.d/NAME.toml beside the configuration: settings of one guest that
// survive reboots of the guest and of the host. A file is named after the guest, or its uuid, and
// has lines as a [guest."..."] section has.
//
// Administrators write them, and so does `tmemctl set --persist`, which changes no more of a file
// than the values that it sets: comments and order stay.
//
// Not thread-safe.
#ifndef TMEM_DAEMON_GUEST_FILES_H_
#define TMEM_DAEMON_GUEST_FILES_H_

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "daemon/config.h"
#include "daemon/knobs.h"

namespace tmem::daemon {

// The folder for a configuration file's guests.
std::string GuestFolderOf(const std::string& config_path);

// All files in the folder, by name or uuid; none if there is no folder. The message of an error
// names file, line and setting.
Result<std::map<std::string, SettingChanges>> ReadGuestFiles(const std::string& folder);

// Settings in the text of such a file; `file` names it in messages.
Result<SettingChanges> ParseGuestFile(std::string_view text, const std::string& file);

// The text with the edits made. kInvalid for a text that ParseGuestFile refuses, or that says
// things in a way that cannot be edited piece by piece.
Result<std::string> EditGuestFile(const std::string& text, const SettingEdits& edits);

// Makes the edits in the guest's file, or a new one, in one step: after a crash there is either the
// old file or the new one. Returns what the file says now. `name` is a guest's name or uuid;
// kInvalid if no file can be named so.
Result<SettingChanges> WriteGuestFile(const std::string& folder, const std::string& name,
                                      const SettingEdits& edits);

// Can a file be named after the guest of that name?
bool NamesAFile(std::string_view name);

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_GUEST_FILES_H_
