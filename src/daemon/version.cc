#include "daemon/version.h"

namespace tmem::daemon {

std::string_view Version() { return TMEM_VERSION; }

}  // namespace tmem::daemon
