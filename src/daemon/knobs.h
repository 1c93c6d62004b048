// The tables of knobs: each thing that an administrator may set, once, with its name, range and
// help text. The configuration file, the command line, the control socket's `set`, the printed
// default file and the manual all come from here; defaults come from Config and GuestSettings.
//
// The tables are constant after their first use and may be read by any thread.
#ifndef TMEM_DAEMON_KNOBS_H_
#define TMEM_DAEMON_KNOBS_H_

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "daemon/config.h"
#include "pools/settings.h"

namespace tmem::daemon {

// When a changed value in the file takes effect.
enum class Effect : uint8_t {
  kReload,   // with SIGHUP
  kRestart,  // with the next start
};

template <class Target>
struct Knob {
  std::string name;     // as in the file: "control.socket" is key `socket` of section [control]
  std::string allowed;  // "a whole number from 1 to 64"
  std::string help;     // one sentence
  Effect effect = Effect::kReload;
  bool has_flag = false;  // the command line has --NAME besides --set NAME=...
  // kInvalid, with what is allowed, and the target unchanged.
  std::function<Result<void>(Target&, const KnobValue&)> set;
  std::function<KnobValue(const Target&)> get;
};

using DaemonKnob = Knob<Config>;
using GuestKnob = Knob<GuestSettings>;

inline constexpr std::string_view kGuestDefaults = "guest-defaults";
inline constexpr std::string_view kSharedAuth = "shared-auth";

// Everything but guests' settings, in the order in which to print it. Those of [guest-defaults]
// come last, made from GuestKnobs().
const std::vector<DaemonKnob>& DaemonKnobs();
const std::vector<GuestKnob>& GuestKnobs();

// Sets one knob. In all names of guests' settings "compress" stands for "compress-ephemeral" and
// "compress-persistent" together. kNotFound for an unknown name, kInvalid for a value that is not
// allowed; the message names the setting and what is allowed.
Result<void> SetKnob(Config& config, const std::string& name, const KnobValue& value);

// The same for one of a guest's settings, to be made later. Besides the knobs there is
// "shared-auth/UUID", true or false: that pool joins the list of those allowed, or leaves it.
Result<void> AddChange(SettingChanges& changes, const std::string& name, const KnobValue& value);

// The same for one of the host's settings. kUnsupported if it cannot change while the daemon runs.
Result<void> AddHostChange(SettingChanges& changes, const std::string& name,
                           const KnobValue& value);

// The later changes over the earlier.
SettingChanges Merged(SettingChanges earlier, const SettingChanges& later);

// What is done to some changes that were made before: more of them, and taking back.
struct SettingEdits {
  SettingChanges changes{};
  std::set<std::string> undone{};  // names, without shorthands
};

// In an edit this value takes back what was set before.
inline constexpr std::string_view kDefaultValue = "default";

// AddChange, or for kDefaultValue its undoing; of a guest's settings or of the host's.
Result<void> AddEdit(SettingEdits& edits, const std::string& name, const KnobValue& value);
Result<void> AddHostEdit(SettingEdits& edits, const std::string& name, const KnobValue& value);

// Does the edit take back a setting of that name, which may be a shorthand?
bool IsUndone(const SettingEdits& edits, std::string_view name);
SettingChanges Edited(SettingChanges changes, const SettingEdits& edits);

// The shorthand that stands for the setting and others, or empty.
std::string_view ShorthandOf(std::string_view name);

// Settings with the changes made, checked as a whole.
Result<GuestSettings> WithChanges(GuestSettings settings, const SettingChanges& changes);
// The same for the host's.
Result<Config> WithChanges(Config config, const SettingChanges& changes);

// A value, and a name, in TOML's notation, as the file would have it.
std::string ToToml(const KnobValue& value);
std::string TomlKey(std::string_view name);

// Every knob with what is allowed, its default and its help text, for people.
std::string KnobManual();

// A configuration file in which everything is explained and nothing is set.
std::string DefaultConfigFile();

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_KNOBS_H_
