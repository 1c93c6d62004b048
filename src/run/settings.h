// What `tmemrun` tells the library in the program: its options, through one environment variable.
#ifndef TMEM_RUN_SETTINGS_H_
#define TMEM_RUN_SETTINGS_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/units.h"

namespace tmem::run {

inline constexpr const char* kSettingsVariable = "TMEMRUN_SETTINGS";

// tmemrun's own failures, as env(1) and nohup(1) number them.
inline constexpr int kExitFailure = 125;        // tmemrun itself failed
inline constexpr int kExitCannotExecute = 126;  // the program cannot be run under tmemrun
inline constexpr int kExitNotFound = 127;       // there is no such program

struct Settings {
  static constexpr std::string_view kNoSpill = "none";
  static constexpr uint64_t kMinResidentBytes = 1 << 20;
  static constexpr uint32_t kMaxReadAhead = 64;

  Bytes resident = MiB(64);
  std::string guest;
  std::string socket;  // empty: the client library's default
  std::string spill = "/tmp";
  std::string stats_json;  // empty: none
  bool stats = false;
  bool children = false;     // programs started by the program run under tmem too
  uint32_t read_ahead = 16;  // pages, 1 to kMaxReadAhead
  pid_t process = 0;         // who runs under tmem, unless `children`
  bool started = false;      // this process ran under tmem before it called exec

  std::string Encode() const;
  static Result<Settings> Decode(std::string_view text);
};

}  // namespace tmem::run

#endif  // TMEM_RUN_SETTINGS_H_
