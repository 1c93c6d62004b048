// Capacity that follows the host's free memory: what the store may have, and what domain 0's
// balloon has to be told for it, as a pure function of what was seen. docs/decisions/0008 says why
// so.
//
// The store has min-capacity of domain 0's own memory. All beyond is borrowed from the host: domain
// 0's target is raised by it, and the capacity follows when the balloon has delivered.
//
//   - grows by a bounded step, if the store is nearly full, domain 0 is not short, and the host
//     keeps more than what must be free, by a margin
//   - gives back at once and in full, as far as the store can give, when less is free than must be:
//     the reserve, or what a toolstack asks for
//   - what a toolstack takes of domain 0's target by itself is given back, too; nothing is ever
//     taken that was not borrowed
//   - while domain 0's own memory is short, the capacity shrinks and domain 0 keeps the memory
#ifndef TMEM_DAEMON_CAPACITY_PLAN_H_
#define TMEM_DAEMON_CAPACITY_PLAN_H_

#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "base/clock.h"
#include "base/units.h"
#include "hypercall/transport.h"

namespace tmem::daemon {

// Steps of the capacity: a sixteenth of it, but neither less nor more than these.
inline constexpr Bytes kLeastStep = MiB(32);
inline constexpr Bytes kMostStep = GiB(1);
// What domain 0 may hold less than its target when its balloon is done.
inline constexpr Bytes kBalloonSlack = MiB(8);
// A balloon that has not moved for so long will not.
inline constexpr std::chrono::seconds kBalloonPatience{10};
inline constexpr std::chrono::seconds kBetweenRaises{1};
// Without growing, after domain 0 was short or the balloon did not deliver.
inline constexpr std::chrono::seconds kCalm{30};

struct FollowLimits {
  Bytes min_capacity;
  Bytes max_capacity;  // at least min_capacity
  Bytes host_reserve;  // stays free on the host
  Bytes dom0_reserve;  // stays available in domain 0
  Bytes free_request;  // a toolstack wants so much free on the host now

  bool operator==(const FollowLimits&) const = default;
};

// What was seen at one time.
struct MemorySample {
  TimePoint now;
  PhysicalMemory host;
  Bytes available;          // to programs of domain 0, without swapping
  bool is_stalled = false;  // programs of domain 0 wait for memory
  Bytes capacity;           // of the store
  Bytes in_use;             // by its segments
  Bytes persistent;         // of these, by persistent pages: cannot be given back
};

// What domain 0 holds for the store.
struct Loan {
  Bytes borrowed;           // of the host, by raising domain 0's target
  Bytes coming;             // of that, not yet delivered
  Bytes target;             // of domain 0, as last seen or set
  TimePoint moved_at{};     // the target was set, or the balloon came closer to it
  TimePoint may_grow_at{};  // not before

  bool operator==(const Loan&) const = default;
};

// Why capacity or target change.
enum class Cause : uint8_t {
  kNone,
  kWanted,     // the store is nearly full, the host has memory
  kHostShort,  // less is free on the host than must be
  kRequested,  // less is free than a toolstack asks for
  kTaken,      // somebody else lowered domain 0's target
  kDom0Short,  // less is available in domain 0 than must be
  kStalled,    // programs of domain 0 wait for memory
  kStuck,      // the balloon does not deliver
  kLimited,    // the limits changed
};
inline constexpr std::array<std::string_view, 9> kCauseNames = {"nothing",
                                                                "wanted by guests",
                                                                "host short of memory",
                                                                "request of a toolstack",
                                                                "target lowered by a toolstack",
                                                                "dom0 short of memory",
                                                                "dom0 stalled for memory",
                                                                "balloon does not deliver",
                                                                "limits changed"};
inline constexpr std::string_view NameOf(Cause cause) {
  return kCauseNames[static_cast<size_t>(cause)];
}

struct CapacityPlan {
  Bytes capacity;
  Loan loan;  // its target is the one to set
  Cause cause = Cause::kNone;
};

// a - b, or nothing.
constexpr Bytes Less(Bytes a, Bytes b) { return a > b ? a - b : Bytes(0); }

// What must be free on the host, and how much more before the store grows.
Bytes WantedFree(const FollowLimits& limits);
Bytes HostMargin(const FollowLimits& limits);
// What will be free when the balloon has done what it was told; nothing of what is to come from a
// balloon that does not move.
Bytes FreeSoon(const MemorySample& sample, const Loan& loan);
// The capacity with which domain 0 keeps its reserve, if its target is that.
Bytes RoomInDom0(const MemorySample& sample, const FollowLimits& limits, Bytes target);

// REQUIRES: `loan` is of the plan before, or of the daemon before this one.
CapacityPlan PlanCapacity(const MemorySample& sample, const FollowLimits& limits, const Loan& loan);

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_CAPACITY_PLAN_H_
