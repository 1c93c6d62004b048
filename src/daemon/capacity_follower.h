// Carries out what capacity_plan.h plans: looks at the host's memory about once a second, and at
// once when a domain appears or goes or a toolstack moves domain 0's target, then sets the store's
// capacity and that target.
//
// Memory that is given back leaves the store first, then domain 0. What was borrowed is written
// down in xenstore, where it lives as long as domain 0's balloon: a daemon after this one goes on
// with it, however this one ends.
//
//   /tool/tmemd/stats/borrowed-bytes      what domain 0's target is raised by for the store
//   /tool/tmemd/stats/dom0-target-bytes   the target with that
//
// Threads: the control thread.
#ifndef TMEM_DAEMON_CAPACITY_FOLLOWER_H_
#define TMEM_DAEMON_CAPACITY_FOLLOWER_H_

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/result.h"
#include "daemon/capacity_plan.h"
#include "daemon/dom0_memory.h"
#include "hypercall/transport.h"
#include "pools/store.h"

namespace tmem::daemon {

inline constexpr std::string_view kHostMemoryToken = "host-memory";

// What an administrator sees of it.
struct Following {
  MemorySample seen;           // at the last look
  Bytes borrowed;              // then
  Bytes target;                // of domain 0, as set then
  Cause cause = Cause::kNone;  // of the last change
  std::string problem;         // why nothing is done; empty: nothing hinders it
};

class CapacityFollower {
 public:
  static constexpr Duration kInterval = std::chrono::seconds(1);
  static constexpr Duration kLeastInterval = std::chrono::milliseconds(100);

  // Both outlive this object. Reads what a daemon before this one borrowed.
  CapacityFollower(Hypervisor& hypervisor, const Clock& clock, Dom0Memory dom0 = Dom0Memory());

  // Asks for events with kHostMemoryToken; each is to be passed to Note().
  Result<void> Start();

  // The capacity for a store that is to follow, before the first look.
  Bytes InitialCapacity(const FollowLimits& limits) const;
  // From now on the store's capacity follows within the limits.
  void Follow(const FollowLimits& limits);
  // From now on the store's capacity is that and does not follow; what was borrowed and is not
  // needed for it is given back. Of the limits, min_capacity and dom0_reserve count.
  void Keep(Bytes capacity, const FollowLimits& limits);

  // Something happened that may change the host's memory.
  void Note() { is_noted_ = true; }
  // When to look; TimePoint::max() for never.
  TimePoint due() const;
  void Look(Store& store);

  // nullopt if the capacity does not follow.
  std::optional<Following> following() const;

 private:
  void CarryOut(const MemorySample& sample, const CapacityPlan& plan, Store& store);
  // False if the target stays.
  bool Move(const MemorySample& sample, const Loan& loan);
  Result<void> WriteDown(Bytes borrowed, Bytes target);
  void Tell(const MemorySample& sample, const CapacityPlan& plan);
  void Problem(std::string what);

  Hypervisor& hypervisor_;
  const Clock& clock_;
  Dom0Memory dom0_;
  FollowLimits limits_;
  bool follows_ = false;
  std::optional<Bytes> capacity_;  // as asked of the store; absent: as it is
  Loan loan_;
  std::pair<Bytes, Bytes> written_;  // what is borrowed, and the target
  Following following_;
  bool is_noted_ = false;
  TimePoint looked_at_{};
  std::optional<bool> told_growing_;  // what the log told last
  TimePoint told_at_{};
};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_CAPACITY_FOLLOWER_H_
