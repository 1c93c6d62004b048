#include "pools/scrubber.h"

namespace tmem {

std::vector<CorruptPage> Scrubber::Run(PageCount budget, const FirstFrom& first_from) {
  std::vector<CorruptPage> corrupt;
  uint64_t checked = 0;
  while (checked < budget.value) {
    const auto guest = all_done_ ? nullptr : first_from(guest_);
    if (guest == nullptr) {
      guest_ = GuestId{0};
      place_ = {};
      all_done_ = false;
      passes_.fetch_add(1, std::memory_order_relaxed);
      break;
    }
    if (guest->id() != guest_) {  // the one that the place belongs to has gone
      guest_ = guest->id();
      place_ = {};
    }
    const uint64_t now =
        guest->keyspace().Scrub(place_, PageCount(budget.value - checked),
                                [&](uint32_t pool, const ObjectId& object, PageIndex index) {
                                  corrupt.push_back({guest->id(), {PoolId{pool}, object, index}});
                                });
    checked += now;
    if (place_.partition < Keyspace::kPartitions) break;
    all_done_ = ++guest_.value == 0;
    place_ = {};
  }
  pages_.fetch_add(checked, std::memory_order_relaxed);
  corrupt_.fetch_add(corrupt.size(), std::memory_order_relaxed);
  return corrupt;
}

ScrubProgress Scrubber::progress() const {
  return {.passes = passes_.load(std::memory_order_relaxed),
          .pages = pages_.load(std::memory_order_relaxed),
          .corrupt = corrupt_.load(std::memory_order_relaxed)};
}

}  // namespace tmem
