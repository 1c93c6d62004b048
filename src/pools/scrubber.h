// Checks stored pages against their checksums before anybody asks for them: damaged memory is
// found, and told of, while a host's other pages can still be saved. Goes round the guests, by
// their ids, and round again. Ephemeral pages have no checksum and are not looked at.
//
// Threads: Run is called by one thread, progress by any.
#ifndef TMEM_POOLS_SCRUBBER_H_
#define TMEM_POOLS_SCRUBBER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/units.h"
#include "pools/guest.h"
#include "pools/keyspace.h"
#include "pools/stats.h"
#include "pools/store.h"

namespace tmem {

class Scrubber {
 public:
  // The guest of lowest id, at least this one, whose pages may be read; nullptr if there is none.
  using FirstFrom = std::function<std::shared_ptr<Guest>(GuestId id)>;

  // Checks at most `budget` pages, and stops at the end of a pass; returns the corrupt ones. They
  // stay, and whoever gets them is told.
  std::vector<CorruptPage> Run(PageCount budget, const FirstFrom& first_from);

  ScrubProgress progress() const;

 private:
  GuestId guest_{0};       // at, or after which, the pass goes on
  bool all_done_ = false;  // guest_ was the highest id that there is
  Keyspace::PassPlace place_;
  std::atomic<uint64_t> passes_{0};
  std::atomic<uint64_t> pages_{0};
  std::atomic<uint64_t> corrupt_{0};
};

}  // namespace tmem

#endif  // TMEM_POOLS_SCRUBBER_H_
