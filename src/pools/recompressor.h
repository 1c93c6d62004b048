// Makes pages smaller while they lie stored: for guests whose mode is CompressMode::kAuto, what was
// put is compressed a little later, and what nobody asks for is compressed more densely.
//
// What it may cost is bounded for each guest: of a processor's time, so many percent. A guest whose
// budget is used up waits, and its puts are compressed as they come once its backlog is full.
//
// Threads: Run is called by one thread.
#ifndef TMEM_POOLS_RECOMPRESSOR_H_
#define TMEM_POOLS_RECOMPRESSOR_H_

#include <functional>
#include <map>
#include <memory>

#include "base/clock.h"
#include "base/units.h"
#include "compress/page_codec.h"
#include "pools/guest.h"
#include "pools/keyspace.h"

namespace tmem {

class Recompressor {
 public:
  // The guest of lowest id, at least this one, whose pages may be read; nullptr if there is none.
  using FirstFrom = std::function<std::shared_ptr<Guest>(GuestId id)>;
  using CpuTime = std::function<Duration()>;

  // `cpu_time`: what the calling thread has spent on a processor.
  explicit Recompressor(CpuTime cpu_time = &ThreadCpuTime) : cpu_time_(std::move(cpu_time)) {}

  // Works for each guest in turn, for at most kSlice of processor time each. Returns when there
  // will be more to do, unless pages are put before that: `now` if at once.
  TimePoint Run(TimePoint now, const FirstFrom& first_from, PageCodec& codec);

  static constexpr Duration kSlice = std::chrono::milliseconds(5);
  // How much of its budget a guest may save up.
  static constexpr Duration kMostSaved = std::chrono::milliseconds(100);

 private:
  // Of one guest.
  struct Progress {
    Duration budget = kMostSaved;  // below zero: overdrawn
    TimePoint refilled;
    Keyspace::PassPlace place{.partition = Keyspace::kPartitions};
    uint64_t pages_seen = 0;  // in this pass; in the one before, until it begins
    TimePoint next_pass;
    uint64_t round = 0;  // in which the guest was last seen
  };

  TimePoint RunFor(Guest& guest, Progress& progress, TimePoint now, PageCodec& codec);
  // One step; false if there is nothing to do now.
  static bool Step(Guest& guest, const GuestSettings& settings, Progress& progress, TimePoint now,
                   PageCodec& codec);

  const CpuTime cpu_time_;
  uint64_t round_ = 0;
  std::map<GuestId, Progress> progress_;
};

}  // namespace tmem

#endif  // TMEM_POOLS_RECOMPRESSOR_H_
