// How well the operating system that tmemd runs in is off for memory: on Xen, domain 0's.
//
// Threads: one.
#ifndef TMEM_DAEMON_DOM0_MEMORY_H_
#define TMEM_DAEMON_DOM0_MEMORY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/result.h"
#include "base/units.h"

namespace tmem::daemon {

class Dom0Memory {
 public:
  // So much of the time since the last look some program has to wait for memory, in percent, to
  // count as stalled.
  static constexpr int64_t kStalledPercent = 10;

  explicit Dom0Memory(std::string proc = "/proc") : proc_(std::move(proc)) {}

  struct Reading {
    Bytes available;          // MemAvailable of meminfo: to programs, without swapping
    bool is_stalled = false;  // by pressure/memory; a kernel without it never tells
  };
  // An error if meminfo does not say what is available.
  Result<Reading> Read(TimePoint now);

 private:
  struct Waited {
    TimePoint until;
    std::chrono::microseconds total;
  };

  bool IsStalled(TimePoint now);

  const std::string proc_;
  std::optional<Waited> waited_;
};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_DOM0_MEMORY_H_
