// What each guest did in the last hour: a sample every ten seconds, kept as long as the guest is
// here. A guest's samples take 16 KiB at most.
//
// Threads: the control thread.
#ifndef TMEM_DAEMON_HISTORY_H_
#define TMEM_DAEMON_HISTORY_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/units.h"
#include "pools/stats.h"

namespace tmem::daemon {

class History {
 public:
  static constexpr std::chrono::seconds kInterval{10};
  static constexpr size_t kSamples = 360;  // an hour

  // One interval of one guest: what it did in it, and what it had stored at its end.
  struct Sample {
    uint64_t used_bytes = 0;  // charged against the cap
    uint32_t ephemeral_pages = 0;
    uint32_t persistent_pages = 0;
    uint32_t puts = 0;  // pages, as all of these
    uint32_t puts_refused = 0;
    uint32_t gets = 0;
    uint32_t gets_found = 0;
    uint32_t evicted = 0;
    float seconds = 0;  // its length: kInterval, or more if nobody looked in time
  };

  // Looks at the guests that are here. To be called more often than once in kInterval.
  void Note(std::span<const GuestStats> guests, TimePoint now);
  void Forget(GuestId guest) { guests_.erase(guest); }

  // Oldest first; the last is the interval that is under way, `guest` telling how it goes.
  std::vector<Sample> Of(const GuestStats& guest, TimePoint now) const;

 private:
  struct Series {
    TimePoint since;        // when the interval under way began
    PoolCounters counters;  // as they were then
    std::deque<Sample> samples;
  };
  static Sample SampleOf(const Series& series, const GuestStats& guest, TimePoint now);

  std::map<GuestId, Series> guests_;
};

static_assert(History::kSamples * sizeof(History::Sample) <= (16 << 10));

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_HISTORY_H_
