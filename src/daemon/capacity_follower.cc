#include "daemon/capacity_follower.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "daemon/tuning.h"

namespace tmem::daemon {

namespace {

// The log tells of changes of direction, but of one to growing not more often than this.
constexpr std::chrono::seconds kBetweenLines{5};

std::string BorrowedPath() { return fmt::format("{}/stats/borrowed-bytes", kTuningPath); }
std::string TargetPath() { return fmt::format("{}/stats/dom0-target-bytes", kTuningPath); }

Bytes ReadBytes(Directory& directory, const std::string& path) {
  const auto text = directory.Read(path);
  return text ? ParseBytes(*text).value_or(Bytes(0)) : Bytes(0);
}

}  // namespace

CapacityFollower::CapacityFollower(Hypervisor& hypervisor, const Clock& clock, Dom0Memory dom0)
    : hypervisor_(hypervisor), clock_(clock), dom0_(std::move(dom0)) {
  Directory& directory = hypervisor_.directory();
  loan_.target = ReadBytes(directory, TargetPath());
  const Bytes borrowed = ReadBytes(directory, BorrowedPath());
  if (borrowed < loan_.target) loan_.borrowed = borrowed;  // else it is nonsense
  written_ = {loan_.borrowed, loan_.target};
}

Result<void> CapacityFollower::Start() {
  for (const std::string_view path : {kBackendTargetPath, kIntroduceDomain, kReleaseDomain}) {
    TMEM_TRY(hypervisor_.directory().Watch(std::string(path), std::string(kHostMemoryToken)));
  }
  return {};
}

Bytes CapacityFollower::InitialCapacity(const FollowLimits& limits) const {
  return limits.min_capacity +
         std::min(loan_.borrowed, Less(limits.max_capacity, limits.min_capacity));
}

void CapacityFollower::Follow(const FollowLimits& limits) {
  if (follows_ && limits == limits_) return;
  if (!std::exchange(follows_, true)) capacity_.reset();
  limits_ = limits;
  Note();
}

void CapacityFollower::Keep(Bytes capacity, const FollowLimits& limits) {
  follows_ = false;
  limits_ = {.min_capacity = limits.min_capacity,
             .max_capacity = std::max(capacity, limits.min_capacity),
             .host_reserve = Bytes(0),
             .dom0_reserve = limits.dom0_reserve,
             .free_request = Bytes(0)};
  capacity_ = limits_.max_capacity;
  Note();
}

TimePoint CapacityFollower::due() const {
  const bool has_excess = limits_.min_capacity + loan_.borrowed > limits_.max_capacity;
  if (!follows_ && !has_excess) return TimePoint::max();
  return looked_at_ + (is_noted_ ? kLeastInterval : kInterval);
}

void CapacityFollower::Look(Store& store) {
  looked_at_ = clock_.Now();
  is_noted_ = false;
  const auto host = hypervisor_.Memory();
  if (!host) return Problem(host.error().message);
  const auto dom0 = dom0_.Read(looked_at_);
  if (!dom0) return Problem(dom0.error().message);
  const StoreStats stats = store.Stats();
  const Bytes persistent = stats.segments[static_cast<size_t>(PageClass::kPersistent)];
  const Bytes ephemeral = stats.segments[static_cast<size_t>(PageClass::kEphemeral)];
  const MemorySample sample = {.now = looked_at_,
                               .host = *host,
                               .available = dom0->available,
                               .is_stalled = dom0->is_stalled,
                               .capacity = capacity_.value_or(stats.capacity),
                               .in_use = persistent + ephemeral,
                               .persistent = persistent};
  CarryOut(sample, PlanCapacity(sample, limits_, loan_), store);
  following_.seen = sample;
  following_.borrowed = loan_.borrowed;
  following_.target = loan_.target;
}

void CapacityFollower::CarryOut(const MemorySample& sample, const CapacityPlan& plan,
                                Store& store) {
  Bytes in_force = sample.capacity;
  if (follows_) {
    if (plan.capacity != sample.capacity) in_force = store.SetCapacity(plan.capacity);
    capacity_ = plan.capacity;
  }
  Loan loan = plan.loan;
  if (loan.target < sample.host.target && follows_) {
    // What the store could not give after all, domain 0 keeps.
    const Bytes expected = std::max(plan.capacity, sample.persistent);
    const Bytes kept = std::min(Less(in_force, expected), sample.host.target - loan.target);
    loan.borrowed += kept;
    loan.target += kept;
  }
  if (plan.cause != Cause::kNone) following_.cause = plan.cause;
  if (Move(sample, loan)) {
    loan_ = loan;
    Problem("");
    Tell(sample, plan);
  }
}

bool CapacityFollower::Move(const MemorySample& sample, const Loan& loan) {
  const Bytes before = sample.host.target;
  const auto stays = [&](const Error& why) {
    Problem(why.message);
    loan_.may_grow_at = sample.now + kCalm;
    return false;
  };
  // Written down before the target rises and after it falls: who finds the target lower than was
  // written takes it that the difference is no longer borrowed. What could not be written down is
  // not borrowed.
  if (loan.target >= before) {
    if (const auto written = WriteDown(loan.borrowed, loan.target); !written) {
      return stays(written.error());
    }
  }
  if (loan.target == before) return true;
  if (const auto set = hypervisor_.SetBackendTarget(loan.target); !set) {
    if (loan.target > before) (void)WriteDown(loan_.borrowed, before);
    return stays(set.error());
  }
  // A note that stays too high, here or above, is read as by that rule: right, and written later.
  if (loan.target < before) (void)WriteDown(loan.borrowed, loan.target);
  return true;
}

Result<void> CapacityFollower::WriteDown(Bytes borrowed, Bytes target) {
  if (written_ == std::pair(borrowed, target)) return {};
  const std::vector<Directory::Node> nodes = {
      {.path = BorrowedPath(), .value = fmt::format("{}", borrowed.value), .permissions = {}},
      {.path = TargetPath(), .value = fmt::format("{}", target.value), .permissions = {}}};
  TMEM_TRY(hypervisor_.directory().WriteAll(nodes));
  written_ = {borrowed, target};
  return {};
}

void CapacityFollower::Tell(const MemorySample& sample, const CapacityPlan& plan) {
  if (plan.cause == Cause::kNone) return;
  if (!follows_) {
    spdlog::info("dom0 is to hold {}, {} of it borrowed for pages: the rest goes back to the host",
                 HumanBytes(loan_.target), HumanBytes(loan_.borrowed));
    return;
  }
  const bool grows = plan.cause == Cause::kWanted;
  const bool is_news = grows != told_growing_ &&
                       (!grows || !told_growing_ || sample.now >= told_at_ + kBetweenLines);
  spdlog::log(is_news ? spdlog::level::info : spdlog::level::debug,
              "capacity {}, was {} ({}); {} were free on the host; dom0 is to hold {}, {} of it "
              "borrowed for pages",
              HumanBytes(plan.capacity), HumanBytes(sample.capacity), NameOf(plan.cause),
              HumanBytes(sample.host.free), HumanBytes(loan_.target), HumanBytes(loan_.borrowed));
  if (!is_news) return;
  told_growing_ = grows;
  told_at_ = sample.now;
}

void CapacityFollower::Problem(std::string what) {
  if (!what.empty() && what != following_.problem) {
    spdlog::warn("the capacity cannot follow the host: {}", what);
  }
  following_.problem = std::move(what);
}

std::optional<Following> CapacityFollower::following() const {
  return follows_ ? std::optional(following_) : std::nullopt;
}

}  // namespace tmem::daemon
