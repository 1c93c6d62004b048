// The policy of SmarTmem (Garrido, Nishtala, Carpenter, IPDPSW 2019), algorithm "smart-alloc": a
// manager moves each guest's target of persistent memory once an interval. Who had puts refused
// gets more, who leaves its target unused gives back some of it, and if the targets together exceed
// the capacity all are scaled down. Here with weights, which the original lacks: what is added is
// in proportion to them, and so is a newcomer's first target. A reserve is a target's least.
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
  // Of the capacity, what guests of equal weight add at once; and of a target, what is given back.
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
