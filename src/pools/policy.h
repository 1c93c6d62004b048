// How memory is divided among claimants: one small interface, and the policies behind it.
//
//   greedy       who comes first takes all; ephemeral memory is one queue. The baseline
//   static       fixed parts of the capacity, by weight, whether used or not
//   surrender    persistent memory for what a guest surrendered, as the old hypervisor counted
//   max-min      that, and a weighted share of what nobody else claims. The default
//   smart-alloc  targets that follow refused puts and idle memory (after SmarTmem, 2019)
//   utility      targets that follow what one segment more would save each, times its weight
//
// What holds under each of them is not theirs to decide: capacity, caps, and that a reserve is
// available to its owner at once (admission.h). docs/policies.md says which to choose when.
//
// A policy is a value that never changes: Allot and RankOf are pure, and Learn makes the
// policy's successor from what was observed. So any thread may use one.
#ifndef TMEM_POOLS_POLICY_H_
#define TMEM_POOLS_POLICY_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "pools/admission.h"
#include "pools/settings.h"

namespace tmem {

// What one claimant did since the last Tick.
struct Observation {
  uint64_t refused = 0;  // persistent segments that it asked for in vain
  // Accesses that one segment more would have saved; nullopt: no page was lost for lack of memory,
  // or ghosts are not watched.
  std::optional<double> saved = {};
};

class Policy {
 public:
  virtual ~Policy() = default;

  virtual PolicyKind kind() const = 0;
  // Whether Learn needs Observation::saved.
  virtual bool watches_ghosts() const { return false; }

  // What each claimant is entitled to now. REQUIRES: as many allotments as claims.
  virtual void Allot(const HostMemory& host, std::span<const Claim> claims,
                     std::span<Allotment> allotments) const = 0;

  // Whose ephemeral pages go first. May change with the claim's ephemeral memory and the allotment.
  virtual EvictionRank RankOf(const Claim& claim, const Allotment& allotment) const {
    return RankByShare(claim, allotment);
  }

  // The policy from now on, after `interval` in which that was observed; nullptr: the same.
  virtual std::shared_ptr<const Policy> Learn(const HostMemory& host, std::span<const Claim> claims,
                                              std::span<const Observation> observations,
                                              std::chrono::duration<double> interval) const;
};

// REQUIRES: settings.Validate().
std::shared_ptr<const Policy> MakePolicy(const PolicySettings& settings);

// What reserves and surrendered memory entitle claimants to, and what they leave of the capacity.
// Surrendered memory that the host has not counts in proportion. Fills in those two terms.
uint32_t AllotGuarantees(const HostMemory& host, std::span<const Claim> claims, uint32_t percent,
                         std::span<Allotment> allotments);

}  // namespace tmem

#endif  // TMEM_POOLS_POLICY_H_
