// A host's memory where there is no Xen: figures in the tree, which whoever tries out the daemon
// writes, and a balloon that obeys at once as far as the figures allow.
//
//   /loopback/memory           all that the pretended host has, as in "2G"
//   /loopback/guests-memory    what its guests hold of that; absent: nothing
//   kBackendTargetPath         as on Xen, in KiB; absent: kBackendMemory
//
// Nothing of it is real: this machine's memory is what the daemon's own process gets.
#ifndef TMEM_HYPERCALL_LOOPBACK_PHYSICAL_MEMORY_H_
#define TMEM_HYPERCALL_LOOPBACK_PHYSICAL_MEMORY_H_

#include "base/result.h"
#include "base/units.h"
#include "hypercall/transport.h"

namespace tmem::loopback {

inline constexpr Bytes kBackendMemory = MiB(256);

// kUnsupported while there is no /loopback/memory, kInvalid for figures that are none.
Result<PhysicalMemory> ReadPhysicalMemory(Directory& tree);
Result<void> SetBackendTarget(Directory& tree, Bytes target);

}  // namespace tmem::loopback

#endif  // TMEM_HYPERCALL_LOOPBACK_PHYSICAL_MEMORY_H_
