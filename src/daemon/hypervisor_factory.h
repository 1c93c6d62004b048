// Which hypervisor's guests this daemon serves.
#ifndef TMEM_DAEMON_HYPERVISOR_FACTORY_H_
#define TMEM_DAEMON_HYPERVISOR_FACTORY_H_

#include <memory>
#include <string>

#include "base/result.h"
#include "daemon/config.h"
#include "hypercall/transport.h"

namespace tmem::daemon {

inline constexpr const char* kXenCapabilities = "/proc/xen/capabilities";

// True in a Xen dom0: the file exists and names control_d.
bool IsXenDom0(const std::string& capabilities_file);

// Connects to Xen if it was chosen, or if `auto` finds a dom0; listens for loopback guests
// otherwise. kUnsupported for Xen in a build without its libraries, or outside a dom0.
Result<std::unique_ptr<Hypervisor>> MakeHypervisor(
    const Config& config, const std::string& capabilities_file = kXenCapabilities);

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_HYPERVISOR_FACTORY_H_
