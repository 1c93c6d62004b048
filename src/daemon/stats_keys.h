// Guests' figures as keys of xenstore, for toolstacks and for the guests themselves:
//
//   /tool/tmemd/guest/DOMID/stats/NAME
//
// Domain 0 writes them, the guest may read its own. A key is written when its figure changed. An
// update writes those of a bounded number of guests, so that many busy guests cannot keep the
// control thread; the others have their turn in the next.
//
// docs/tmemd.md, "Keys of xenstore", lists the names.
//
// Threads: the control thread.
#ifndef TMEM_DAEMON_STATS_KEYS_H_
#define TMEM_DAEMON_STATS_KEYS_H_

#include <cstddef>
#include <map>
#include <span>
#include <string>

#include "base/units.h"
#include "hypercall/transport.h"
#include "pools/stats.h"

namespace tmem::daemon {

class StatsKeys {
 public:
  // Of how many guests one update writes keys, at most.
  static constexpr size_t kGuestsAnUpdate = 64;

  // The directory outlives this object.
  explicit StatsKeys(Directory& directory) : directory_(directory) {}

  // REQUIRES: `guests` are all that are here, in the order of their ids, and each has its folder.
  void Update(std::span<const GuestStats> guests);
  // The guest is gone, and so is its folder.
  void Forget(GuestId guest);

 private:
  using Texts = std::map<std::string, std::string>;

  // True if something was written.
  bool UpdateOne(const GuestStats& guest);

  Directory& directory_;
  std::map<GuestId, Texts> written_;
  GuestId next_{0};       // whose turn is first
  bool failing_ = false;  // told in the log
};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_STATS_KEYS_H_
