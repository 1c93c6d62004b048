// `tmemctl top` on a terminal, through ncurses, and as plain frames for scripts.
#ifndef TMEM_CTL_TOP_SCREEN_H_
#define TMEM_CTL_TOP_SCREEN_H_

#include <chrono>
#include <cstdint>
#include <functional>

#include "base/clock.h"
#include "base/result.h"
#include "ctl/top_model.h"

namespace tmem::ctl {

struct TopOptions {
  std::chrono::milliseconds delay{2000};
  char sort_key = TopModel::kDefaultKey;
  uint32_t frames = 0;  // 0: until the user quits
};

// Gives a new result of `stats`.
using TakeSample = std::function<Result<Json>()>;

// Prints frames on standard output, `delay` apart. REQUIRES: options.frames > 0.
Result<void> PrintTop(const TopOptions& options, const TakeSample& sample, const Clock& clock);

// Takes the terminal until the user presses q. A daemon that goes away is shown as such, and asked
// again. kUnsupported if standard output is no terminal that ncurses can use.
Result<void> RunTopScreen(const TopOptions& options, const TakeSample& sample, const Clock& clock);

}  // namespace tmem::ctl

#endif  // TMEM_CTL_TOP_SCREEN_H_
