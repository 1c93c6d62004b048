// Small files of text, read and replaced as a whole.
//
// Threads: any.
#ifndef TMEM_DAEMON_TEXT_FILE_H_
#define TMEM_DAEMON_TEXT_FILE_H_

#include <string>
#include <string_view>

#include "base/result.h"

namespace tmem::daemon {

// kNotFound if there is no such file, kDenied if it may not be read; the message names it.
Result<std::string> ReadTextFile(const std::string& path);

// In one step and for good: after a crash there is either the old file or the new one. Anybody may
// read it, whatever the umask. Makes PATH.new on the way, which readers of folders leave alone.
Result<void> ReplaceTextFile(const std::string& path, std::string_view text);

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_TEXT_FILE_H_
