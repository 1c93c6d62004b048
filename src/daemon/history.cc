#include "daemon/history.h"

#include <algorithm>
#include <limits>

namespace tmem::daemon {

namespace {

uint32_t Clamped(uint64_t number) {
  return static_cast<uint32_t>(std::min<uint64_t>(number, std::numeric_limits<uint32_t>::max()));
}

}  // namespace

void History::Note(std::span<const GuestStats> guests, TimePoint now) {
  for (const GuestStats& guest : guests) {
    // A guest's counters begin at 0: nothing that it did before the first look is lost.
    const auto [at, is_new] =
        guests_.try_emplace(guest.id, Series{.since = now, .counters = {}, .samples = {}});
    Series& series = at->second;
    if (is_new || now - series.since < kInterval) continue;
    if (series.samples.size() == kSamples) series.samples.pop_front();
    series.samples.push_back(SampleOf(series, guest, now));
    series.since = now;
    series.counters = guest.counters;
  }
}

std::vector<History::Sample> History::Of(const GuestStats& guest, TimePoint now) const {
  const auto at = guests_.find(guest.id);
  if (at == guests_.end()) return {};
  const Series& series = at->second;
  std::vector<Sample> samples(series.samples.begin(), series.samples.end());
  if (now > series.since) samples.push_back(SampleOf(series, guest, now));
  return samples;
}

History::Sample History::SampleOf(const Series& series, const GuestStats& guest, TimePoint now) {
  // Snapshots are not consistent across partitions: a figure may even be a little behind.
  const auto grown = [&](uint64_t PoolCounters::* member) {
    const uint64_t before = series.counters.*member;
    return std::max(guest.counters.*member, before) - before;
  };
  const auto pages = [&](PageClass page_class) {
    return Clamped(guest.stored[static_cast<size_t>(page_class)].pages);
  };
  return {.used_bytes = guest.charged.value,
          .ephemeral_pages = pages(PageClass::kEphemeral),
          .persistent_pages = pages(PageClass::kPersistent),
          .puts = Clamped(grown(&PoolCounters::puts)),
          .puts_refused =
              Clamped(grown(&PoolCounters::puts_no_memory) + grown(&PoolCounters::puts_frozen)),
          .gets = Clamped(grown(&PoolCounters::gets)),
          .gets_found = Clamped(grown(&PoolCounters::gets_found)),
          .evicted = Clamped(grown(&PoolCounters::evicted)),
          .seconds = std::chrono::duration<float>(now - series.since).count()};
}

}  // namespace tmem::daemon
