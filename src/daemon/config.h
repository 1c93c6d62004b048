// What tmemd is told: the configuration file and the files of single guests, with the command
// line's overrides on top.
//
// Plain data. The defaults stand here, in the members' initialisers, and nowhere else; names,
// ranges and help texts stand in the tables of knobs.h.
#ifndef TMEM_DAEMON_CONFIG_H_
#define TMEM_DAEMON_CONFIG_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "compress/page_codec.h"
#include "daemon/control_protocol.h"
#include "daemon/logging.h"
#include "hypercall/handshake.h"
#include "pools/settings.h"

namespace tmem::daemon {

inline constexpr std::string_view kDefaultConfigPath = "/etc/tmemd/tmemd.toml";

enum class HypervisorKind : uint8_t { kAuto, kLoopback, kXen };

// A setting as TOML, JSON or a command line gave it.
using KnobValue = std::variant<bool, int64_t, std::string, std::vector<std::string>>;

// New values for some of a guest's settings, by the names of GuestKnobs(), or of the host's, by
// those of DaemonKnobs(). Each value was checked alone; shorthands were expanded.
using SettingChanges = std::map<std::string, KnobValue>;

// What goes over the files while the daemon runs; the later goes over the earlier.
struct LiveChanges {
  SettingChanges by_key{};      // of xenstore
  SettingChanges by_command{};  // of tmemctl
};

struct Config {
  HypervisorKind hypervisor = HypervisorKind::kAuto;
  std::optional<Bytes> capacity = MiB(256);  // absent: follows the host's free memory
  // For a capacity that follows: capacity_plan.h.
  Bytes min_capacity = MiB(64);
  Bytes host_reserve = MiB(512);
  Bytes dom0_reserve = MiB(256);
  Bytes free_request{0};
  PolicySettings policy{};
  Bytes max_capacity{0};   // 0: four times the capacity
  std::string store_path;  // empty: memory of the process
  bool shared_auth_default = false;
  std::vector<std::string> allowed_guests = {"all"};  // names and uuids, or "all"
  uint32_t workers = 0;                               // 0: one less than there are CPUs, at least 1
  uint32_t spin_us = 50;
  uint32_t scrub_hours = 24;  // 0: no scrub
  int zstd_level = PageCodec::Config{}.zstd_level;
  LogLevel log_level = LogLevel::kInfo;

  std::string metrics_address;  // empty: none
  std::string control_socket{kDefaultControlSocket};
  mode_t control_mode = 0600;
  std::string loopback_socket = "/run/tmemd/loopback.sock";
  mode_t loopback_mode = 0600;
  WireLimits limits;

  GuestSettings guest_defaults;
  std::map<std::string, SettingChanges> guests;       // [guest."..."] sections, by name or uuid
  std::string guest_folder;                           // where guests' files are; not a knob
  std::map<std::string, SettingChanges> guest_files;  // by name or uuid
};

// Where a configuration comes from.
struct ConfigSource {
  std::string path{kDefaultConfigPath};
  bool must_exist = false;  // the administrator named the file
  std::vector<std::pair<std::string, std::string>> overrides =
      {};  // knob's name and its value as text
};

// Reads the file, if it exists, and guests.d/*.toml beside it, and applies the overrides. The
// message of an error names file, line and key, what is wrong, and what is allowed. kDenied if a
// file may not be read; kInvalid for everything else that is wrong with it.
Result<Config> LoadConfig(const ConfigSource& source);

// The same with the text at hand; `file` names it in messages.
Result<Config> ParseConfig(std::string_view text, const std::string& file,
                           const ConfigSource& source);

// What depends on several knobs at once, guests' settings not among them. kInvalid, naming them.
Result<void> CheckTogether(const Config& config);

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_CONFIG_H_
