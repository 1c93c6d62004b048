#include "run/clock_hand.h"

#include <algorithm>

namespace tmem::run {

namespace {

bool MayLeave(const PageEntry& entry) { return entry.resident() && entry.pinned == 0; }

}  // namespace

bool ClockHand::Ask(uint32_t page) {
  const PageEntry& entry = table_[page];
  if (!MayLeave(entry)) return false;
  if (entry.credit == 0) return true;
  --table_.Touch(page).credit;
  return false;
}

std::optional<PageRun> ClockHand::Next(uint32_t max_pages) {
  const auto used = static_cast<uint32_t>(table_.used().size());
  // After this many steps every page that may leave was asked often enough to be out of credit.
  const uint64_t steps = uint64_t{used} * (PageEntry::kMaxCredit + 1);
  for (uint64_t step = 0; step < steps; ++step) {
    if (position_ >= used) position_ = 0;
    const uint32_t first = position_++;
    if (!Ask(first)) continue;
    const uint32_t limit = std::min(used, first + max_pages);
    while (position_ < limit && MayLeave(table_[position_]) && table_[position_].credit == 0) {
      ++position_;
    }
    return PageRun{first, position_ - first};
  }
  return std::nullopt;
}

}  // namespace tmem::run
