// Which hypervisor's guests this daemon serves.
#ifndef TMEM_DAEMON_HYPERVISOR_FACTORY_H_
#define TMEM_DAEMON_HYPERVISOR_FACTORY_H_

#include <memory>
#include <string>

#include "base/result.h"
#include "daemon/config.h"
#include "hypercall/transport.h"

namespace tmem::daemon {

// What Xen grants this domain. Not /proc/xen/capabilities: of a unit with ProtectProc=, /proc is
// another, on which xenfs is not mounted.
inline constexpr const char* kXenFeatures = "/sys/hypervisor/properties/features";

// True in a Xen dom0: the file's number has XENFEAT_dom0 (xen/include/public/features.h).
bool IsXenDom0(const std::string& features_file);

// Connects to Xen if it was chosen, or if `auto` finds a dom0; listens for loopback guests
// otherwise. kUnsupported for Xen in a build without its libraries, or outside a dom0.
Result<std::unique_ptr<Hypervisor>> MakeHypervisor(const Config& config,
                                                   const std::string& features_file = kXenFeatures);

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_HYPERVISOR_FACTORY_H_
