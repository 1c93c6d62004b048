// Xen: what transport.h asks for, in a dom0, over libxenstore, libxengnttab, libxenevtchn and
// libxenctrl.
#ifndef TMEM_HYPERCALL_XEN_XEN_HYPERVISOR_H_
#define TMEM_HYPERCALL_XEN_XEN_HYPERVISOR_H_

#include <memory>

#include "base/result.h"
#include "hypercall/transport.h"

namespace tmem::xen {

// Connects to xenstored and to the kernel's Xen devices; name() is "xen". The error says what is
// missing and how to get it: a kernel module, a permission (kDenied), xenstored. kUnsupported in a
// build without Xen's libraries.
//
// Threads: the control thread. Shared pages and event channels may outlive what is returned.
Result<std::unique_ptr<Hypervisor>> ConnectToXen();

}  // namespace tmem::xen

#endif  // TMEM_HYPERCALL_XEN_XEN_HYPERVISOR_H_
