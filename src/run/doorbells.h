// How the program's threads ask something of the fault loop: by a page fault.
//
// The fault loop's descriptors live in a table of its own (the program may close all of its own),
// and a thread of the program may stand on a stack that is itself evicted, so it must hold no lock
// while it waits. A fault gives both: who reads a doorbell page, the first pages of the arena,
// waits until the fault loop has done the command of that doorbell and fills the page.
//
// Works in a child of vfork() too (it shares the memory); must not be used in a child of fork().
#ifndef TMEM_RUN_DOORBELLS_H_
#define TMEM_RUN_DOORBELLS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "run/page_table.h"

namespace tmem::run {

struct Command {
  enum class Kind {
    kDiscard,  // the content of `run` is given up
    kPin,      // `run` is about to become unreadable
    kUnpin,    // `run` is readable again
    kFinish,   // the process is about to exit: serve its children to the end, report
    kStop,     // leave the loop
  };
  Kind kind = Kind::kDiscard;
  PageRun run;
};

class Doorbells {
 public:
  static constexpr uint32_t kCount = 64;
  // A forked child reads this page before it runs; see ForkedChildren.
  static constexpr uint32_t kHelloPage = kCount;
  // Pages of the arena that hold no memory of the program.
  static constexpr uint32_t kReservedPages = 128;

  explicit Doorbells(std::byte* arena) : arena_(arena) {}

  // Returns when the fault loop has done the command. Any thread of the program.
  void Ring(const Command& command);

  // What the doorbell at `page` (below kCount) asks for. The fault loop.
  const Command& At(uint32_t page) const { return commands_[page]; }

 private:
  uint32_t Take();

  std::byte* const arena_;
  std::atomic<uint64_t> taken_{0};  // bit per doorbell
  std::array<Command, kCount> commands_{};
};

}  // namespace tmem::run

#endif  // TMEM_RUN_DOORBELLS_H_
