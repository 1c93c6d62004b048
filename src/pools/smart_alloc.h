// The policy of SmarTmem (Garrido, Nishtala, Carpenter, IPDPSW 2019), algorithm "smart-alloc": a
// manager moves each guest's target of persistent memory once an interval. Who had puts refused
// gets more, who leaves its target unused gives back some of it, and if the targets together exceed
// the capacity all are scaled down. What the original lacks:
//
// - Weights. Those who were refused divide one step by them, and so is a newcomer's first target.
// - Reserves and caps are a target's least and most.
// - A target is raised only as far as it can be had (MostFor). Without that, targets on small hosts
//   swung by a quarter of the memory for good: a guest refused for others' reserves, or for pages
//   that others had yet to flush, was raised all the time at the cost of the rest.
//
// A value, as every Policy.
#ifndef TMEM_POOLS_SMART_ALLOC_H_
#define TMEM_POOLS_SMART_ALLOC_H_

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "pools/policy.h"
#include "pools/targets.h"

namespace tmem {

class SmartAlloc final : public Policy {
 public:
  // Of the capacity, what all add at once together; and of a target, what is given back at once.
  // The original's evaluation found 2% to serve graph analytics and synthetic loads alike.
  static constexpr double kStep = 0.02;

  SmartAlloc() = default;

  PolicyKind kind() const override { return PolicyKind::kSmartAlloc; }
  void Allot(const HostMemory& host, std::span<const Claim> claims,
             std::span<Allotment> allotments) const override;
  std::shared_ptr<const Policy> Learn(const HostMemory& host, std::span<const Claim> claims,
                                      std::span<const Observation> observations,
                                      std::chrono::duration<double> interval) const override;

 private:
  explicit SmartAlloc(std::vector<Target> targets) : targets_(std::move(targets)) {}

  std::vector<Target> targets_;
};

}  // namespace tmem

#endif  // TMEM_POOLS_SMART_ALLOC_H_
