// The domains that Xen runs, from libxenctrl.
#ifndef TMEM_HYPERCALL_XEN_DOMAIN_LIST_H_
#define TMEM_HYPERCALL_XEN_DOMAIN_LIST_H_

#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "hypercall/xen/handles.h"

namespace tmem::xen {

struct Domain {
  GuestId id;
  Uuid uuid;
  Bytes held;  // its memory now
};

// All but domain 0, Xen's own service domains, and those that are dying: a dying domain stays in
// Xen's list for as long as somebody has one of its pages mapped.
Result<std::vector<Domain>> ListDomains(xc_interface* control);

}  // namespace tmem::xen

#endif  // TMEM_HYPERCALL_XEN_DOMAIN_LIST_H_
