#include "daemon/capacity_plan.h"

#include <algorithm>
#include <utility>

#include "pools/segment.h"

namespace tmem::daemon {

namespace {

// Without growing, after somebody lowered domain 0's target: a domain will be created from what
// came free. xl tries for half a minute.
constexpr std::chrono::seconds kForToolstack{60};

Bytes RoundDown(Bytes bytes) { return Bytes(bytes.value / kSegmentSize * kSegmentSize); }
Bytes RoundUp(Bytes bytes) { return RoundDown(bytes + Bytes(kSegmentSize - 1)); }

// Of what must stay free; the store grows only beyond that much more.
Bytes MarginOf(Bytes reserve) { return std::max(Bytes(reserve.value / 8), MiB(16)); }

Bytes StepOf(Bytes capacity) {
  return std::clamp(RoundDown(Bytes(capacity.value / 16)), kLeastStep, kMostStep);
}

// What happened to the target and to the balloon since the last look.
Loan Observed(Loan loan, const MemorySample& sample) {
  const PhysicalMemory& host = sample.host;
  if (host.target != loan.target) {
    loan.borrowed = Less(loan.borrowed, Less(loan.target, host.target));
    loan.target = host.target;
    loan.moved_at = sample.now;
  }
  const Bytes left = Less(host.target, host.held);
  const Bytes coming =
      left <= kBalloonSlack ? Bytes(0) : std::min({loan.coming, loan.borrowed, left});
  if (coming < loan.coming) loan.moved_at = sample.now;
  loan.coming = coming;
  return loan;
}

class Planner {
 public:
  Planner(const MemorySample& sample, const FollowLimits& limits, const Loan& loan)
      : sample_(sample),
        limits_(limits),
        was_taken_(sample.host.target < loan.target),
        plan_{sample.capacity, Observed(loan, sample)} {}

  CapacityPlan Plan() && {
    if (was_taken_) GrowNotBefore(sample_.now + kForToolstack);
    GiveUpOnBalloon();
    GiveBack();
    KeepDom0Well();
    if (plan_.cause == Cause::kNone) Grow();
    return plan_;
  }

 private:
  void Because(Cause cause) {
    if (plan_.cause == Cause::kNone) plan_.cause = cause;
  }
  Bytes Entitled() const { return limits_.min_capacity + plan_.loan.borrowed; }
  void GrowNotBefore(TimePoint time) {
    plan_.loan.may_grow_at = std::max(plan_.loan.may_grow_at, time);
  }

  void Lower(Bytes bytes) {
    Loan& loan = plan_.loan;
    loan.borrowed -= bytes;
    loan.coming = Less(loan.coming, bytes);  // the last that was asked for goes first
    loan.target = Less(loan.target, bytes);
    loan.moved_at = sample_.now;
  }

  void GiveUpOnBalloon() {
    if (plan_.loan.coming == Bytes(0) || sample_.now - plan_.loan.moved_at < kBalloonPatience) {
      return;
    }
    Lower(plan_.loan.coming);
    GrowNotBefore(sample_.now + kCalm);
    Because(Cause::kStuck);
  }

  void GiveBack() {
    const Bytes wanted = WantedFree(limits_);
    const Bytes free = FreeSoon(sample_, plan_.loan);
    const Bytes middle = wanted + Bytes(HostMargin(limits_).value / 2);
    const Bytes missing = free < wanted ? RoundUp(middle - free) : Bytes(0);
    const Bytes excess = Less(Entitled(), limits_.max_capacity);
    const Bytes floor = std::max(limits_.min_capacity, sample_.persistent);
    const Bytes give = std::min(std::max(missing, excess), Less(Entitled(), floor));
    if (give == Bytes(0)) return;
    // What domain 0 could not do without, it keeps.
    const Bytes ballooned = Less(sample_.host.held, Less(plan_.loan.target, give));
    const Bytes needed = floor + limits_.dom0_reserve + ballooned;
    const Bytes kept = std::min(give, Less(needed, sample_.in_use + sample_.available));
    if (kept == give) return;
    Lower(give - kept);
    if (missing == Bytes(0)) return Because(Cause::kLimited);
    Because(limits_.free_request > limits_.host_reserve ? Cause::kRequested : Cause::kHostShort);
  }

  // From here on the target is settled, unless the store grows.
  void KeepDom0Well() {
    Shrink(std::min(Entitled(), limits_.max_capacity),
           was_taken_ ? Cause::kTaken : Cause::kLimited);
    const Bytes room = RoomInDom0(sample_, limits_, plan_.loan.target);
    if (plan_.capacity > room) {
      Shrink(Less(room, Bytes(MarginOf(limits_.dom0_reserve).value / 2)), Cause::kDom0Short);
      GrowNotBefore(sample_.now + kCalm);
    }
    if (sample_.is_stalled) {
      const Bytes step = std::max(kLeastStep, Bytes(sample_.capacity.value / 8));
      Shrink(Less(std::min(sample_.capacity, sample_.in_use), step), Cause::kStalled);
      GrowNotBefore(sample_.now + kCalm);
    }
    if (plan_.capacity < limits_.min_capacity) {
      plan_.capacity = limits_.min_capacity;
      if (sample_.capacity < plan_.capacity) Because(Cause::kLimited);
    }
  }

  void Shrink(Bytes capacity, Cause cause) {
    capacity = std::max(RoundDown(capacity), limits_.min_capacity);
    if (capacity >= plan_.capacity) return;
    plan_.capacity = capacity;
    Because(cause);
  }

  void Grow() {
    const Bytes step = StepOf(sample_.capacity);
    if (sample_.now < plan_.loan.may_grow_at || !IsNearlyFull(step) ||
        sample_.capacity >= limits_.max_capacity ||
        FreeSoon(sample_, plan_.loan) < WantedFree(limits_)) {
      return;
    }
    const Bytes delivered = Entitled() - plan_.loan.coming;
    if (delivered > sample_.capacity) {
      UseDelivered(std::min(delivered, sample_.capacity + step));
    } else if (plan_.loan.coming == Bytes(0)) {
      Borrow(step);
    }
  }

  bool IsNearlyFull(Bytes step) const {
    return Less(sample_.capacity, sample_.in_use) <=
           std::min(step, Bytes(sample_.capacity.value / 2));
  }

  void UseDelivered(Bytes capacity) {
    const Bytes room = RoomInDom0(sample_, limits_, plan_.loan.target);
    capacity = RoundDown(
        std::min({capacity, limits_.max_capacity, Less(room, MarginOf(limits_.dom0_reserve))}));
    if (capacity <= sample_.capacity) return;
    plan_.capacity = capacity;
    Because(Cause::kWanted);
  }

  void Borrow(Bytes step) {
    Loan& loan = plan_.loan;
    const Bytes spare = Less(FreeSoon(sample_, loan), WantedFree(limits_) + HostMargin(limits_));
    const Bytes rest = Less(limits_.max_capacity, Entitled());
    const Bytes raise =
        RoundDown(std::min({step, spare, rest, Less(sample_.host.maximum, loan.target)}));
    // By so little it cannot be told whether the balloon has delivered: only the last step does
    // that.
    if (raise == Bytes(0) || (raise <= kBalloonSlack && raise < rest)) return;
    loan.borrowed += raise;
    loan.coming = raise;
    loan.target += raise;
    loan.moved_at = sample_.now;
    GrowNotBefore(sample_.now + kBetweenRaises);
    Because(Cause::kWanted);
  }

  const MemorySample& sample_;
  const FollowLimits& limits_;
  const bool was_taken_;
  CapacityPlan plan_;
};

}  // namespace

Bytes WantedFree(const FollowLimits& limits) {
  return std::max(limits.host_reserve, limits.free_request);
}

Bytes HostMargin(const FollowLimits& limits) { return MarginOf(limits.host_reserve); }

Bytes FreeSoon(const MemorySample& sample, const Loan& loan) {
  const bool moves = sample.now - loan.moved_at < kBalloonPatience;
  const Bytes going = moves ? Less(sample.host.held, loan.target) : Bytes(0);
  return Less(sample.host.free + going, Less(loan.target, sample.host.held));
}

Bytes RoomInDom0(const MemorySample& sample, const FollowLimits& limits, Bytes target) {
  return Less(sample.in_use + sample.available,
              Less(sample.host.held, target) + limits.dom0_reserve);
}

CapacityPlan PlanCapacity(const MemorySample& sample, const FollowLimits& limits,
                          const Loan& loan) {
  return Planner(sample, limits, loan).Plan();
}

}  // namespace tmem::daemon
