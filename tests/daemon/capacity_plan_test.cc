#include "daemon/capacity_plan.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "pools/segment.h"

namespace tmem::daemon {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Bytes Less(Bytes a, Bytes b) { return a > b ? a - b : Bytes(0); }

FollowLimits Limits() {
  return {.min_capacity = MiB(64),
          .max_capacity = GiB(4),
          .host_reserve = MiB(512),
          .dom0_reserve = MiB(256),
          .free_request = Bytes(0)};
}

// A host of which domain 0 holds 1 GiB and 2 GiB are free; the store is full.
MemorySample Sample() {
  return {.now = TimePoint(seconds(1000)),
          .host = {.free = GiB(2), .held = GiB(1), .target = GiB(1), .maximum = GiB(8)},
          .available = MiB(600),
          .is_stalled = false,
          .capacity = MiB(64),
          .in_use = MiB(64),
          .persistent = Bytes(0)};
}

// As if the store had borrowed so much some time ago, and used all of it.
struct Borrowed {
  explicit Borrowed(Bytes bytes) {
    sample.host.free -= bytes;
    sample.host.held += bytes;
    sample.host.target += bytes;
    sample.capacity += bytes;
    sample.in_use += bytes;
    loan.borrowed = bytes;
    loan.target = sample.host.target;
  }
  CapacityPlan Plan(const FollowLimits& limits = Limits()) const {
    return PlanCapacity(sample, limits, loan);
  }

  MemorySample sample = Sample();
  Loan loan;
};

// ---- one look

TEST(CapacityPlanTest, AFullStoreBorrowsAStepAndTakesItWhenDelivered) {
  MemorySample sample = Sample();
  CapacityPlan plan = PlanCapacity(sample, Limits(), {});
  EXPECT_EQ(plan.cause, Cause::kWanted);
  EXPECT_EQ(plan.capacity, MiB(64)) << "not before the balloon has delivered";
  EXPECT_EQ(plan.loan.target, GiB(1) + MiB(32));

  sample.host.target = plan.loan.target;
  sample.host.held += MiB(16);
  sample.now += seconds(2);
  plan = PlanCapacity(sample, Limits(), plan.loan);
  EXPECT_EQ(plan.capacity, MiB(64) + MiB(16));
  EXPECT_EQ(plan.loan.target, sample.host.target) << "one step at a time";

  sample.capacity = plan.capacity;
  sample.host.held += MiB(16);
  sample.available += MiB(32);
  plan = PlanCapacity(sample, Limits(), plan.loan);
  EXPECT_EQ(plan.capacity, MiB(96));
}

TEST(CapacityPlanTest, AStoreThatHasRoomDoesNotGrow) {
  MemorySample sample = Sample();
  sample.in_use = MiB(31);
  const CapacityPlan plan = PlanCapacity(sample, Limits(), {});
  EXPECT_EQ(plan.cause, Cause::kNone);
  EXPECT_EQ(plan.loan.target, sample.host.target);
}

TEST(CapacityPlanTest, GrowsOnlyBeyondTheReserveAndAMargin) {
  MemorySample sample = Sample();
  sample.host.free = MiB(512) + HostMargin(Limits()) + kBalloonSlack;
  EXPECT_EQ(PlanCapacity(sample, Limits(), {}).cause, Cause::kNone);
  sample.host.free += MiB(4);
  const CapacityPlan plan = PlanCapacity(sample, Limits(), {});
  EXPECT_EQ(plan.cause, Cause::kWanted);
  EXPECT_EQ(plan.loan.borrowed, kBalloonSlack + MiB(4));
}

TEST(CapacityPlanTest, GrowsUpToTheMaximumHoweverLittleIsLeft) {
  Borrowed host(GiB(1));
  FollowLimits limits = Limits();
  limits.max_capacity = host.sample.capacity + MiB(3);
  const CapacityPlan plan = host.Plan(limits);
  EXPECT_EQ(plan.loan.borrowed, GiB(1) + MiB(3));
  host.sample.host.target = host.sample.host.held = plan.loan.target;
  host.sample.now += kBetweenRaises;
  EXPECT_EQ(PlanCapacity(host.sample, limits, plan.loan).capacity, limits.max_capacity);
}

TEST(CapacityPlanTest, LessThanTheReserveIsAnsweredAtOnce) {
  Borrowed host(GiB(1));
  host.sample.host.free = MiB(100);
  const CapacityPlan plan = host.Plan();
  EXPECT_EQ(plan.cause, Cause::kHostShort);
  EXPECT_EQ(plan.loan.borrowed, GiB(1) - MiB(412) - MiB(32)) << "to the middle of the margin";
  EXPECT_EQ(plan.capacity, MiB(64) + plan.loan.borrowed);
  EXPECT_EQ(plan.loan.target, GiB(1) + plan.loan.borrowed);
}

TEST(CapacityPlanTest, AToolstackIsGivenWhatItAsksFor) {
  const Borrowed host(GiB(1));
  FollowLimits limits = Limits();
  limits.free_request = MiB(1500);
  const CapacityPlan plan = host.Plan(limits);
  EXPECT_EQ(plan.cause, Cause::kRequested);
  EXPECT_GE(host.sample.host.free + host.sample.host.target - plan.loan.target, MiB(1500));
  limits.free_request = GiB(1000);
  EXPECT_EQ(host.Plan(limits).loan.borrowed, Bytes(0));
  EXPECT_EQ(host.Plan(limits).capacity, MiB(64)) << "all, but no more than was borrowed";
}

TEST(CapacityPlanTest, PersistentPagesStay) {
  Borrowed host(GiB(1));
  host.sample.host.free = Bytes(0);
  host.sample.persistent = MiB(900);
  const CapacityPlan plan = host.Plan();
  EXPECT_EQ(plan.capacity, MiB(900));
  EXPECT_EQ(plan.loan.borrowed, MiB(900) - MiB(64));
}

TEST(CapacityPlanTest, WhatIsNotDeliveredIsCancelledFirst) {
  Borrowed host(GiB(1));
  host.sample.host.held -= MiB(64);
  host.sample.capacity -= MiB(64);
  host.loan.coming = MiB(64);
  host.loan.moved_at = host.sample.now;
  host.sample.host.free = MiB(512) + MiB(20);
  const CapacityPlan plan = host.Plan();
  EXPECT_EQ(plan.cause, Cause::kHostShort) << "the balloon would take 64 of it";
  EXPECT_EQ(plan.loan.coming, Bytes(0));
  EXPECT_LT(plan.loan.target, host.sample.host.target - MiB(64));
}

TEST(CapacityPlanTest, WhatIsOnTheWayToTheHostIsNotAskedForTwice) {
  Borrowed host(GiB(1));
  host.sample.host.free = MiB(100);
  const Loan loan = host.Plan().loan;
  host.sample.host.target = loan.target;
  host.sample.capacity = host.sample.in_use = Limits().min_capacity + loan.borrowed;
  host.sample.available += GiB(1) - loan.borrowed;
  host.sample.now += seconds(1);
  EXPECT_EQ(PlanCapacity(host.sample, Limits(), loan).loan, loan);
  host.sample.now += kBalloonPatience;
  EXPECT_LT(PlanCapacity(host.sample, Limits(), loan).loan.borrowed, loan.borrowed)
      << "nothing comes of it";
}

TEST(CapacityPlanTest, AToolstackThatLowersTheTargetIsFollowed) {
  Borrowed host(GiB(1));
  host.sample.host.target -= MiB(300);
  const CapacityPlan plan = host.Plan();
  EXPECT_EQ(plan.cause, Cause::kTaken);
  EXPECT_EQ(plan.capacity, MiB(64) + GiB(1) - MiB(300));
  EXPECT_EQ(plan.loan.target, host.sample.host.target);
  Borrowed later = host;  // the balloon has obeyed, and no domain came
  later.sample.host.held = host.sample.host.target;
  later.sample.host.free += MiB(300);
  later.sample.capacity = later.sample.in_use = plan.capacity;
  later.sample.now += seconds(59);
  EXPECT_EQ(PlanCapacity(later.sample, Limits(), plan.loan).cause, Cause::kNone);
  later.sample.now += seconds(1);
  EXPECT_EQ(PlanCapacity(later.sample, Limits(), plan.loan).cause, Cause::kWanted);
  host.sample.host.target = MiB(500);
  EXPECT_EQ(host.Plan().capacity, MiB(64));
  EXPECT_EQ(host.Plan().loan.borrowed, Bytes(0)) << "the rest was domain 0's own";
}

TEST(CapacityPlanTest, WhatAnAdministratorGivesDom0IsDom0s) {
  Borrowed host(GiB(1));
  host.sample.host.target += MiB(256);
  host.sample.host.held += MiB(256);
  host.sample.host.free = MiB(540);
  const CapacityPlan plan = host.Plan();
  EXPECT_EQ(plan.loan.borrowed, GiB(1));
  EXPECT_EQ(plan.cause, Cause::kNone);
}

TEST(CapacityPlanTest, Dom0ComesFirst) {
  Borrowed host(GiB(1));
  host.sample.available = MiB(156);
  const CapacityPlan plan = host.Plan();
  EXPECT_EQ(plan.cause, Cause::kDom0Short);
  EXPECT_EQ(plan.capacity, host.sample.capacity - MiB(100) - MiB(16));
  EXPECT_EQ(plan.loan.target, host.sample.host.target) << "what the store leaves is for domain 0";
  host.sample.now += seconds(29);
  host.sample.capacity = host.sample.in_use = plan.capacity;
  host.sample.available = GiB(1);
  EXPECT_EQ(PlanCapacity(host.sample, Limits(), plan.loan).cause, Cause::kNone);
  host.sample.now += seconds(1);
  EXPECT_EQ(PlanCapacity(host.sample, Limits(), plan.loan).capacity, plan.capacity + MiB(60));
}

TEST(CapacityPlanTest, WhileDom0StallsTheStoreShrinks) {
  Borrowed host(GiB(1));
  host.sample.is_stalled = true;
  CapacityPlan plan = host.Plan();
  EXPECT_EQ(plan.cause, Cause::kStalled);
  EXPECT_EQ(plan.capacity, host.sample.capacity - Bytes(host.sample.capacity.value / 8));
  host.sample.capacity = host.sample.in_use = MiB(70);
  plan = host.Plan();
  EXPECT_EQ(plan.capacity, MiB(64));
}

TEST(CapacityPlanTest, ABalloonThatDoesNotDeliverIsToldToStop) {
  MemorySample sample = Sample();
  Loan loan = PlanCapacity(sample, Limits(), {}).loan;
  sample.host.target = loan.target;
  sample.now += kBalloonPatience;
  const CapacityPlan plan = PlanCapacity(sample, Limits(), loan);
  EXPECT_EQ(plan.cause, Cause::kStuck);
  EXPECT_EQ(plan.loan.target, GiB(1));
  EXPECT_EQ(plan.loan.borrowed, Bytes(0));
  sample.host.target = GiB(1);
  sample.now += seconds(29);
  EXPECT_EQ(PlanCapacity(sample, Limits(), plan.loan).cause, Cause::kNone);
  sample.now += seconds(1);
  EXPECT_EQ(PlanCapacity(sample, Limits(), plan.loan).cause, Cause::kWanted);
}

TEST(CapacityPlanTest, LimitsHoldWhenTheyChange) {
  const Borrowed host(GiB(1));
  FollowLimits limits = Limits();
  limits.max_capacity = MiB(500);
  EXPECT_EQ(host.Plan(limits).capacity, MiB(500));
  EXPECT_EQ(host.Plan(limits).loan.borrowed, MiB(436));
  EXPECT_EQ(host.Plan(limits).cause, Cause::kLimited);
  limits = Limits();
  limits.min_capacity = GiB(2);
  EXPECT_EQ(host.Plan(limits).capacity, GiB(2));
}

// ---- any look at all

Bytes AnyMib(int most) { return MiB(static_cast<uint64_t>(*rc::gen::inRange(0, most + 1))); }

struct Look {
  MemorySample sample;
  FollowLimits limits;
  Loan loan;
};

Look AnyLook() {
  Look look;
  FollowLimits& limits = look.limits;
  limits.min_capacity = MiB(1) + AnyMib(200);
  limits.max_capacity = limits.min_capacity + AnyMib(4000);
  limits.host_reserve = AnyMib(1000);
  limits.dom0_reserve = AnyMib(500);
  limits.free_request = *rc::gen::arbitrary<bool>() ? Bytes(0) : AnyMib(3000);
  MemorySample& sample = look.sample;
  sample.now = TimePoint(seconds(1000));
  look.loan.borrowed = AnyMib(3000);
  sample.host.target = MiB(300) + look.loan.borrowed + AnyMib(500);
  sample.host.maximum = sample.host.target + AnyMib(2000);
  sample.host.held = *rc::gen::arbitrary<bool>() ? sample.host.target : AnyMib(5000);
  sample.host.free = AnyMib(4000);
  sample.available = AnyMib(1500);
  sample.is_stalled = *rc::gen::inRange(0, 4) == 0;
  sample.capacity = AnyMib(5000);
  sample.in_use = AnyMib(5000);
  if (*rc::gen::arbitrary<bool>()) {  // as a store that has had what it wanted
    sample.capacity =
        limits.min_capacity + look.loan.borrowed - std::min(look.loan.borrowed, AnyMib(100));
    sample.in_use = sample.capacity - std::min(sample.capacity, AnyMib(40));
  }
  sample.persistent = std::min(sample.in_use, AnyMib(5000));
  look.loan.target = *rc::gen::inRange(0, 4) == 0 ? AnyMib(5000) : sample.host.target;
  look.loan.coming = std::min(look.loan.borrowed, Less(look.loan.target, sample.host.held));
  look.loan.moved_at = sample.now - milliseconds(*rc::gen::inRange(0, 20'000));
  look.loan.may_grow_at = sample.now - seconds(10) + milliseconds(*rc::gen::inRange(0, 20'000));
  return look;
}

RC_GTEST_PROP(CapacityPlanProperty, LimitsAreNeverExceeded, ()) {
  const auto [sample, limits, loan] = AnyLook();
  const CapacityPlan plan = PlanCapacity(sample, limits, loan);
  RC_ASSERT(plan.capacity >= limits.min_capacity);
  RC_ASSERT(plan.capacity <= limits.max_capacity);
  RC_ASSERT(plan.capacity <= limits.min_capacity + plan.loan.borrowed ||
            plan.capacity == limits.min_capacity);
  RC_ASSERT(plan.loan.coming <= plan.loan.borrowed);
  // What was not borrowed is not taken.
  const Bytes own = Less(sample.host.target, loan.borrowed);
  RC_ASSERT(plan.loan.target >= own);
  RC_ASSERT(plan.loan.target <= std::max(sample.host.target, sample.host.maximum));
}

RC_GTEST_PROP(CapacityPlanProperty, Dom0IsNeverPlannedBelowWhatItNeeds, ()) {
  const auto [sample, limits, loan] = AnyLook();
  const CapacityPlan plan = PlanCapacity(sample, limits, loan);
  // The plan takes memory of domain 0, beyond what somebody took before: the store leaves as much.
  const auto balloon = [&](Bytes target) { return Less(sample.host.held, target); };
  if (balloon(plan.loan.target) <= balloon(sample.host.target)) return;
  const Bytes stays = std::max(plan.capacity, sample.persistent);
  RC_ASSERT(stays <= RoomInDom0(sample, limits, plan.loan.target));
}

RC_GTEST_PROP(CapacityPlanProperty, WhatIsMissingIsGivenAtOnceOrAllThatThereIs, ()) {
  const auto [sample, limits, loan] = AnyLook();
  const CapacityPlan plan = PlanCapacity(sample, limits, loan);
  // As the planner sees it: with the loan after what others did to the target.
  Loan seen = loan;
  seen.target = sample.host.target;
  if (seen.target != loan.target) seen.moved_at = sample.now;
  const Bytes free = FreeSoon(sample, seen);
  if (free >= WantedFree(limits)) return;
  const Bytes missing = WantedFree(limits) - free;
  const Bytes floor = std::max(limits.min_capacity, sample.persistent);
  const Bytes given = Less(sample.host.target, plan.loan.target);
  const bool all = limits.min_capacity + plan.loan.borrowed <= floor;
  const bool dom0_has_no_more =
      RoomInDom0(sample, limits, Less(plan.loan.target, Bytes(kSegmentSize))) < floor;
  // Later than the balloon's patience, what moves is measured anew.
  const bool is_stuck = plan.cause == Cause::kStuck;
  RC_ASSERT(given >= missing || all || dom0_has_no_more || is_stuck);
  RC_ASSERT(plan.loan.target <= sample.host.target);
  RC_ASSERT(plan.capacity <= std::max(sample.capacity, limits.min_capacity));
}

RC_GTEST_PROP(CapacityPlanProperty, NothingGrowsWhileDom0IsShort, ()) {
  const auto [sample, limits, loan] = AnyLook();
  const CapacityPlan plan = PlanCapacity(sample, limits, loan);
  if (!sample.is_stalled && sample.capacity <= RoomInDom0(sample, limits, sample.host.target)) {
    return;
  }
  RC_ASSERT(plan.capacity <= std::max(sample.capacity, limits.min_capacity));
  RC_ASSERT(plan.loan.target <= sample.host.target);
}

RC_GTEST_PROP(CapacityPlanProperty, GrowingLeavesTheHostAndDom0TheirMargins, ()) {
  const auto [sample, limits, loan] = AnyLook();
  const CapacityPlan plan = PlanCapacity(sample, limits, loan);
  if (plan.loan.target > sample.host.target) {
    RC_ASSERT(FreeSoon(sample, plan.loan) >= WantedFree(limits) + HostMargin(limits));
    RC_ASSERT(plan.loan.target - sample.host.target <= kMostStep);
  }
  if (plan.capacity > std::max(sample.capacity, limits.min_capacity)) {
    RC_ASSERT(plan.capacity <= RoomInDom0(sample, limits, plan.loan.target));
    RC_ASSERT(plan.capacity - sample.capacity <= kMostStep);
  }
}

// ---- histories

// A host in which guests come and go, domain 0's programs want now more and now less, and a balloon
// moves at some speed. Whatever the plan says, is done.
class World {
 public:
  explicit World(const FollowLimits& limits) : limits_(limits) {}

  void Configure() {
    pool_ = MiB(600) + AnyMib(6000);
    own_ = MiB(100) + AnyMib(300);
    base_ = own_ + limits_.min_capacity + limits_.dom0_reserve + AnyMib(400);
    pool_ = std::max(pool_, base_);
    target_ = held_ = base_;
    speed_ = MiB(static_cast<uint64_t>(*rc::gen::inRange(16, 2000)));
    persistent_percent_ = static_cast<uint64_t>(*rc::gen::inRange(0, 101));
  }

  // What others do.
  void Disturb() {
    switch (*rc::gen::inRange(0, 5)) {
      case 0:
        guests_ = std::min(AnyMib(5000), Less(pool_, held_));
        break;
      case 1:
        demand_ = AnyMib(5000);
        break;
      case 2:
        limits_.free_request = *rc::gen::arbitrary<bool>() ? Bytes(0) : AnyMib(2000);
        break;
      default:
        is_stalled_ = *rc::gen::inRange(0, 4) == 0;
        break;
    }
  }

  // A second. Returns what was planned.
  CapacityPlan Step() {
    now_ += seconds(1);
    const Bytes to_target = std::min(speed_, Less(target_, held_));
    held_ += std::min(to_target, free());
    in_use_ = std::max(std::min(capacity_, demand_), persistent());
    held_ -= std::min({speed_, Less(held_, target_), available()});
    const MemorySample sample = {
        .now = now_,
        .host = {.free = free(), .held = held_, .target = target_, .maximum = GiB(100)},
        .available = available(),
        .is_stalled = is_stalled_,
        .capacity = capacity_,
        .in_use = in_use_,
        .persistent = persistent()};
    const CapacityPlan plan = PlanCapacity(sample, limits_, loan_);
    if (plan.capacity > sample.capacity) {
      RC_ASSERT(plan.capacity <= RoomInDom0(sample, limits_, plan.loan.target));
    }
    capacity_ = plan.capacity;
    in_use_ = std::max(std::min(in_use_, capacity_), sample.persistent);
    loan_ = plan.loan;
    target_ = plan.loan.target;
    return plan;
  }

  void CheckInvariants() const {
    RC_ASSERT(target_ >= base_);
    RC_ASSERT(target_ - base_ == loan_.borrowed);
    // Domain 0's programs never take more than is available: so nothing but the store, and what is
    // taken for the host, could bring domain 0 to its end.
    RC_ASSERT(held_ >= own_ + in_use_);
    RC_ASSERT(target_ >= own_ + in_use_);
  }
  void Calm() { is_stalled_ = false; }
  Bytes capacity() const { return capacity_; }
  Bytes free() const { return Less(pool_, guests_ + held_); }
  Bytes borrowed() const { return loan_.borrowed; }
  Bytes in_use() const { return in_use_; }
  Bytes demand() const { return demand_; }
  const FollowLimits& limits() const { return limits_; }

 private:
  Bytes available() const { return Less(held_, own_ + in_use_); }
  // Persistent pages go only when their guests want: here, when the demand falls.
  Bytes persistent() const {
    return std::min(in_use_, Bytes(demand_.value / 100 * persistent_percent_));
  }

  FollowLimits limits_;
  TimePoint now_{seconds(1000)};
  Bytes pool_;    // all but what Xen itself has
  Bytes guests_;  // hold of it
  Bytes held_;    // domain 0
  Bytes target_;
  Bytes base_;  // the target without the store's loan
  Bytes own_;   // that domain 0's programs need
  Bytes speed_;
  Bytes demand_;
  uint64_t persistent_percent_ = 0;
  Bytes capacity_ = limits_.min_capacity;
  Bytes in_use_;
  Loan loan_;
  bool is_stalled_ = false;
};

FollowLimits AnyLimits() {
  FollowLimits limits = Limits();
  limits.min_capacity = MiB(1) + AnyMib(100);
  limits.max_capacity = limits.min_capacity + AnyMib(4000);
  limits.host_reserve = AnyMib(1000);
  limits.dom0_reserve = AnyMib(300);
  return limits;
}

RC_GTEST_PROP(CapacityPlanProperty, InAnyHistoryDom0IsWellAndLimitsHold, ()) {
  World world(AnyLimits());
  world.Configure();
  const int steps = *rc::gen::inRange(10, 200);
  for (int i = 0; i < steps; ++i) {
    if (*rc::gen::inRange(0, 5) == 0) world.Disturb();
    world.Step();
    world.CheckInvariants();
  }
}

RC_GTEST_PROP(CapacityPlanProperty, InASteadyHostItSettles, ()) {
  World world(AnyLimits());
  world.Configure();
  const int disturbances = *rc::gen::inRange(1, 8);
  for (int i = 0; i < disturbances; ++i) {
    world.Disturb();
    const int steps = *rc::gen::inRange(0, 60);
    for (int step = 0; step < steps; ++step) world.Step();
  }
  world.Calm();
  // Four gigabytes in steps of 32 MiB, a raise and a delivery each, and some patience.
  int turns = 0;
  bool grew = false;
  for (int i = 0; i < 600; ++i) {
    const Bytes before = world.capacity();
    world.Step();
    if (world.capacity() == before) continue;
    const bool grows = world.capacity() > before;
    turns += i > 0 && grows != grew ? 1 : 0;
    grew = grows;
  }
  RC_ASSERT(turns <= 2);
  for (int i = 0; i < 60; ++i) RC_ASSERT(world.Step().cause == Cause::kNone);
  // Where it settles: the host has what it wants, or the store all that it could give.
  const Bytes floor = std::max(world.limits().min_capacity, world.in_use());
  RC_ASSERT(world.free() >= WantedFree(world.limits()) ||
            world.borrowed() <= Less(floor, world.limits().min_capacity));
}

}  // namespace
}  // namespace tmem::daemon
