// What stands in for xen_hypervisor.cc in a build without Xen's libraries.
#include "hypercall/xen/xen_hypervisor.h"

namespace tmem::xen {

Result<std::unique_ptr<Hypervisor>> ConnectToXen() {
  return Fail(ErrorCode::kUnsupported, "this build of tmemd has no Xen transport");
}

}  // namespace tmem::xen
