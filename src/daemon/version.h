// The release that this build is.
#ifndef TMEM_DAEMON_VERSION_H_
#define TMEM_DAEMON_VERSION_H_

#include <string_view>

namespace tmem::daemon {

std::string_view Version();  // "0.1.0"

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_VERSION_H_
