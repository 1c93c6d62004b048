// Where the daemon's messages go: standard error, one line each.
//
// Under journald (standard error is the journal's stream) a line starts with its syslog priority,
// "<4>", and carries no time, for the journal has both; elsewhere it has time and level. All rooms
// log through spdlog's default logger, which InstallLogger() sets once, before any thread starts.
#ifndef TMEM_DAEMON_LOGGING_H_
#define TMEM_DAEMON_LOGGING_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace tmem::daemon {

enum class LogLevel : uint8_t { kError, kWarning, kInfo, kDebug };

inline constexpr std::array<std::string_view, 4> kLogLevelNames = {"error", "warning", "info",
                                                                   "debug"};

std::string_view ToString(LogLevel level);
std::optional<LogLevel> ParseLogLevel(std::string_view text);

// True if file descriptor 2 is the stream that $JOURNAL_STREAM names ("device:inode").
bool StderrIsJournal(const char* journal_stream);

void InstallLogger(bool journal);

// Messages below this level are dropped. May be called at any time, from any thread.
void SetLogLevel(LogLevel level);

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_LOGGING_H_
