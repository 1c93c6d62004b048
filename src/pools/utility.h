// Memory goes where it saves most: hill climbing by what one segment more would save each claimant,
// as its ghosts tell (ghosts.h), times its weight. After Cliffhanger (Cidon and others, NSDI 2016)
// and Memshare (ATC 2017), whose reserved part is the floor here.
//
// Once an interval those whom another segment would save most take a step from those who would
// lose least, as long as the difference is worth it. Each target is of both classes together: what
// persistent pages may take, and what they leave of it decides whose ephemeral pages go. Who lost
// no page has nothing to be learned of: it gives what it does not use. None falls below its
// reserve, or below a part of its share by weight, so that nobody starves and each can be learned
// about. What nobody has, because a guest left or is at its cap, is there for the taking.
//
// So that targets arrive soon and come to rest then: one that moves on in a direction moves faster
// and faster, one that turns slows down (RPROP, Riedmiller and Braun, ICNN 1993). What a segment is
// worth to its taker is the lesser of the latest figure and the mean of all, what it costs its
// giver the larger, for a mean alone goes on for a while when there is nothing to be gained any
// more. And a target is raised only as far as it can be had (MostFor).
//
// A value, as every Policy.
#ifndef TMEM_POOLS_UTILITY_H_
#define TMEM_POOLS_UTILITY_H_

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "pools/policy.h"
#include "pools/targets.h"

namespace tmem {

class Utility final : public Policy {
 public:
  // At a pace of 1.
  static constexpr double kStep = 0.02;       // of the capacity: what one takes or gives at once
  static constexpr double kGiven = 1.0 / 16;  // of a target: what one gives at once, at most a step
  // The pace is multiplied by these when a target moves on, and when it turns; within those.
  static constexpr double kFaster = 1.1;
  static constexpr double kSlower = 0.5;
  static constexpr double kLeastPace = 0.5;
  static constexpr double kMostPace = 4;
  static constexpr double kFloor = 1.0 / 16;   // of a part by weight: what one keeps
  static constexpr double kMargin = 1.25;      // gains that differ by less do not differ
  static constexpr double kNewsWeight = 0.25;  // of the last interval, in the mean of all

  Utility() = default;

  PolicyKind kind() const override { return PolicyKind::kUtility; }
  bool watches_ghosts() const override { return true; }
  void Allot(const HostMemory& host, std::span<const Claim> claims,
             std::span<Allotment> allotments) const override;
  std::shared_ptr<const Policy> Learn(const HostMemory& host, std::span<const Claim> claims,
                                      std::span<const Observation> observations,
                                      std::chrono::duration<double> interval) const override;

 private:
  explicit Utility(std::vector<Target> targets) : targets_(std::move(targets)) {}

  std::vector<Target> targets_;
};

}  // namespace tmem

#endif  // TMEM_POOLS_UTILITY_H_
