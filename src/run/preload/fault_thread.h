// The thread of ours in the program: opens userfaultfd, the connection to tmemd and the spill
// file, and runs the fault loop.
//
// It has a table of descriptors of its own, so that the program neither sees nor closes them, and
// gets no signal.
#ifndef TMEM_RUN_PRELOAD_FAULT_THREAD_H_
#define TMEM_RUN_PRELOAD_FAULT_THREAD_H_

#include <cstddef>
#include <memory>

#include "base/result.h"
#include "run/doorbells.h"
#include "run/guardian.h"
#include "run/settings.h"

namespace tmem::run {

struct FaultThreadOptions {
  Settings settings;
  std::byte* base = nullptr;
  uint32_t pages = 0;
  const Doorbells* doorbells = nullptr;
  std::unique_ptr<Guardian> guardian;
};

// What the thread found out; it serves from now on.
struct FaultThreadInfo {
  bool follows_forks = false;
};

// Starts the thread and waits until it serves. It ends with the process.
Result<FaultThreadInfo> StartFaultThread(FaultThreadOptions options);

}  // namespace tmem::run

#endif  // TMEM_RUN_PRELOAD_FAULT_THREAD_H_
