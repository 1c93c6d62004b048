#include "pools/policy.h"

#include <algorithm>
#include <cassert>

#include "pools/smart_alloc.h"
#include "pools/utility.h"

namespace tmem {

namespace {

// A claimant that does not want its part of the unclaimed memory lends it to others, but for one
// eighth: it shall find something when it comes, for persistent pages are not dropped for it, and
// what others hold too much comes back only as they flush.
constexpr uint32_t kKeptFraction = 8;
// What one that asks for no more may still add before it has to ask: an eighth, and some segments.
constexpr uint32_t kHeadroomFraction = 8;
constexpr uint32_t kMinHeadroom = 4;  // segments

class Greedy final : public Policy {
 public:
  PolicyKind kind() const override { return PolicyKind::kGreedy; }

  void Allot(const HostMemory& host, std::span<const Claim> claims,
             std::span<Allotment> allotments) const override {
    for (size_t i = 0; i < claims.size(); ++i) {
      const Terms& terms = claims[i].terms;
      const uint32_t all = terms.has_persistent ? host.capacity : 0;
      allotments[i] = {.reserve = terms.reserve,
                       .share = all > terms.reserve ? all - terms.reserve : 0,
                       .ephemeral_weight = terms.weight};
    }
  }
  EvictionRank RankOf(const Claim& claim, const Allotment&) const override {
    return RankByAge(claim);
  }
};

class Static final : public Policy {
 public:
  PolicyKind kind() const override { return PolicyKind::kStatic; }

  void Allot(const HostMemory& host, std::span<const Claim> claims,
             std::span<Allotment> allotments) const override {
    std::vector<Demand> demands;
    for (const Claim& claim : claims) demands.push_back({claim.terms.weight, host.capacity});
    const auto parts = WeightedMaxMin(host.capacity, demands);
    for (size_t i = 0; i < claims.size(); ++i) {
      const Terms& terms = claims[i].terms;
      const uint32_t total = std::max(parts[i], terms.reserve);
      allotments[i] = {.reserve = terms.reserve,
                       .share = terms.has_persistent ? total - terms.reserve : 0,
                       .total = total,
                       .ephemeral_weight = terms.weight};
    }
  }
};

class Surrender final : public Policy {
 public:
  explicit Surrender(uint32_t percent) : percent_(percent) {}
  PolicyKind kind() const override { return PolicyKind::kSurrender; }

  void Allot(const HostMemory& host, std::span<const Claim> claims,
             std::span<Allotment> allotments) const override {
    AllotGuarantees(host, claims, percent_, allotments);
    for (size_t i = 0; i < claims.size(); ++i) {
      allotments[i].ephemeral_weight = claims[i].terms.weight;
    }
  }

 private:
  const uint32_t percent_;
};

class MaxMin final : public Policy {
 public:
  explicit MaxMin(uint32_t percent) : percent_(percent) {}
  PolicyKind kind() const override { return PolicyKind::kMaxMin; }

  void Allot(const HostMemory& host, std::span<const Claim> claims,
             std::span<Allotment> allotments) const override {
    const uint32_t unclaimed = AllotGuarantees(host, claims, percent_, allotments);
    std::vector<Demand> demands(claims.size());
    for (size_t i = 0; i < claims.size(); ++i) {
      const Terms& terms = claims[i].terms;
      if (!terms.has_persistent) continue;
      const uint64_t guaranteed = allotments[i].persistent();
      demands[i] = {terms.weight,
                    std::min(unclaimed, static_cast<uint32_t>(terms.cap - guaranteed))};
    }
    const auto equal = WeightedMaxMin(unclaimed, demands);
    for (size_t i = 0; i < claims.size(); ++i) {
      if (claims[i].wants_more) continue;
      const uint64_t wanted = claims[i].persistent + HeadroomOf(claims[i]);
      const uint64_t guaranteed = allotments[i].persistent();
      const uint64_t beyond = wanted > guaranteed ? wanted - guaranteed : 0;
      const uint32_t kept = equal[i] / kKeptFraction;
      demands[i].most = static_cast<uint32_t>(
          std::min<uint64_t>(demands[i].most, std::max<uint64_t>(beyond, kept)));
    }
    const auto shares = WeightedMaxMin(unclaimed, demands);
    for (size_t i = 0; i < claims.size(); ++i) {
      allotments[i].share = shares[i];
      allotments[i].ephemeral_weight = claims[i].terms.weight;
    }
  }

 private:
  static uint32_t HeadroomOf(const Claim& claim) {
    return std::max(claim.persistent / kHeadroomFraction, kMinHeadroom);
  }

  const uint32_t percent_;
};

}  // namespace

uint32_t AllotGuarantees(const HostMemory& host, std::span<const Claim> claims, uint32_t percent,
                         std::span<Allotment> allotments) {
  uint64_t reserved = 0;
  uint64_t surrendered = 0;
  for (size_t i = 0; i < claims.size(); ++i) {
    const Terms& terms = claims[i].terms;
    allotments[i] = Allotment{.reserve = terms.reserve};
    // A reserve is never above the cap.
    const uint32_t most = std::min(host.capacity, terms.cap - terms.reserve);
    allotments[i].surrendered = static_cast<uint32_t>(
        std::min<uint64_t>(uint64_t{terms.surrendered} * percent / 100, most));
    reserved += terms.reserve;
    surrendered += allotments[i].surrendered;
  }
  const uint64_t left = host.capacity > reserved ? host.capacity - reserved : 0;
  if (surrendered <= left) return static_cast<uint32_t>(left - surrendered);
  for (size_t i = 0; i < claims.size(); ++i) {
    allotments[i].surrendered =
        static_cast<uint32_t>(allotments[i].surrendered * left / surrendered);
  }
  return 0;
}

std::shared_ptr<const Policy> Policy::Learn(const HostMemory&, std::span<const Claim>,
                                            std::span<const Observation>,
                                            std::chrono::duration<double>) const {
  return nullptr;
}

std::shared_ptr<const Policy> MakePolicy(const PolicySettings& settings) {
  switch (settings.kind) {
    case PolicyKind::kGreedy:
      return std::make_shared<Greedy>();
    case PolicyKind::kStatic:
      return std::make_shared<Static>();
    case PolicyKind::kSurrender:
      return std::make_shared<Surrender>(settings.surrender_percent);
    case PolicyKind::kMaxMin:
      return std::make_shared<MaxMin>(settings.surrender_percent);
    case PolicyKind::kSmartAlloc:
      return std::make_shared<SmartAlloc>();
    case PolicyKind::kUtility:
      return std::make_shared<Utility>();
  }
  return nullptr;
}

}  // namespace tmem
