// Which pages leave memory: a clock that goes over the arena in address order.
//
// userfaultfd shows no accessed bits; the evidence of use is faults. A page gets credit when it is
// faulted in (more when it comes back soon after it was evicted) or first written, and the hand
// takes one credit a lap before it takes the page. Address order keeps neighbours together, so
// that they leave in one batch and come back in one.
//
// Owned by the fault loop's thread.
#ifndef TMEM_RUN_CLOCK_HAND_H_
#define TMEM_RUN_CLOCK_HAND_H_

#include <cstdint>
#include <optional>

#include "run/page_table.h"

namespace tmem::run {

class ClockHand {
 public:
  explicit ClockHand(PageTable& table) : table_(table) {}

  // The next victims: at most `max_pages` neighbours, resident, not pinned, out of credit.
  // Nothing if there is no page that may leave.
  std::optional<PageRun> Next(uint32_t max_pages);

 private:
  // True if the hand may take the page now; else it has taken a credit.
  bool Ask(uint32_t page);

  PageTable& table_;
  uint32_t position_ = 0;
};

}  // namespace tmem::run

#endif  // TMEM_RUN_CLOCK_HAND_H_
