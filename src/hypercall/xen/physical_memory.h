// What the host has free, and domain 0's balloon: libxenctrl's figures, and the keys by which xl,
// too, sets domain 0's target (libxl_set_memory_target).
#ifndef TMEM_HYPERCALL_XEN_PHYSICAL_MEMORY_H_
#define TMEM_HYPERCALL_XEN_PHYSICAL_MEMORY_H_

#include "base/result.h"
#include "base/units.h"
#include "hypercall/transport.h"
#include "hypercall/xen/handles.h"

namespace tmem::xen {

// Where nobody has set a target yet, it is what domain 0 holds. kInvalid for a target that is no
// number.
Result<PhysicalMemory> ReadPhysicalMemory(xc_interface* control, Directory& directory);

// Xen's limit of domain 0 is raised if it is below the target; `xl mem-set 0` lowers it. Makes
// memory/static-max, without which xl would not change a target that it finds.
Result<void> SetDom0Target(xc_interface* control, Directory& directory, Bytes target);

}  // namespace tmem::xen

#endif  // TMEM_HYPERCALL_XEN_PHYSICAL_MEMORY_H_
