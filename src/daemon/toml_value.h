// From TOML's kinds of value to those that knobs take. Private to the readers of files.
#ifndef TMEM_DAEMON_TOML_VALUE_H_
#define TMEM_DAEMON_TOML_VALUE_H_

#include <toml++/toml.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "daemon/config.h"

namespace tmem::daemon {

// Nullopt for kinds of value that no knob takes: tables, dates, mixed lists.
std::optional<KnobValue> ValueOf(const toml::node& node);

// "file:line: message".
std::unexpected<Error> WrongAt(const std::string& file, const toml::source_region& where,
                               std::string_view message);

// Adds what a guest's table of settings says. `place` stands before the setting in messages.
Result<void> AddChanges(SettingChanges& changes, const toml::table& settings,
                        const std::string& file, std::string_view place);

// The table, or an error with file and line.
Result<toml::table> ParseToml(std::string_view text, const std::string& file);

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_TOML_VALUE_H_
