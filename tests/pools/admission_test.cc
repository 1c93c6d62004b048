#include "pools/admission.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <vector>

namespace tmem {
namespace {

rc::Gen<Claim> AnyClaim() {
  const auto weight = rc::gen::oneOf(rc::gen::inRange(1u, 200u), rc::gen::element(1u, 65'535u));
  const auto ephemeral =
      rc::gen::oneOf(rc::gen::just(0u), rc::gen::inRange(0u, 100u), rc::gen::just(1u << 30));
  return rc::gen::apply(
      [](uint32_t w, uint32_t reserve, uint32_t persistent, uint32_t e) {
        return Claim{
            .terms = {.weight = w, .reserve = reserve}, .persistent = persistent, .ephemeral = e};
      },
      weight, rc::gen::inRange(0u, 50u), rc::gen::inRange(0u, 50u), ephemeral);
}

rc::Gen<std::vector<Claim>> AnyClaims() {
  return rc::gen::nonEmpty(rc::gen::container<std::vector<Claim>>(AnyClaim()));
}

Claim Cache(uint32_t weight, uint32_t ephemeral) {
  return {.terms = {.weight = weight}, .ephemeral = ephemeral};
}

// Ephemeral memory is divided by weight; persistent pages may take whatever is there.
std::vector<Allotment> ByWeight(const std::vector<Claim>& claims) {
  std::vector<Allotment> allotments;
  for (const Claim& claim : claims) {
    allotments.push_back({.share = kNoLimit, .ephemeral_weight = claim.terms.weight});
  }
  return allotments;
}

// Who goes first, and for the ephemeral pages of a taker, who counts as if it held one more
// already.
std::optional<size_t> Victim(std::vector<Claim> claims,
                             std::optional<size_t> taker = std::nullopt) {
  if (taker && claims[*taker].ephemeral > 0) ++claims[*taker].ephemeral;
  const auto allotments = ByWeight(claims);
  const auto goes_before = [&](size_t a, size_t b) {
    return RankByShare(claims[a], allotments[a]).GoesBefore(RankByShare(claims[b], allotments[b]));
  };
  std::optional<size_t> victim;
  for (size_t i = 0; i < claims.size(); ++i) {
    if (claims[i].ephemeral > 0 && (!victim || goes_before(i, *victim))) victim = i;
  }
  return victim;
}

HostMemory HostOf(const std::vector<Claim>& claims, uint32_t capacity) {
  HostMemory host{.capacity = capacity};
  for (const Claim& claim : claims) {
    host.persistent += claim.persistent;
    host.promised += PromisedTo(claim);
  }
  return host;
}

std::optional<Refusal> RefusalOf(const std::vector<Claim>& claims, size_t self, uint32_t capacity) {
  return RefusePersistent(claims[self], ByWeight(claims)[self], HostOf(claims, capacity));
}

// ---- who goes first ----

TEST(RankByShare, NobodyWhoHoldsNothing) {
  EXPECT_FALSE(Victim({}));
  EXPECT_FALSE(Victim({Cache(1, 0), {.terms = {.weight = 5}, .persistent = 9}}));
}

TEST(RankByShare, TheLightOneThatHoldsAsMuch) {
  EXPECT_EQ(Victim({Cache(100, 10), Cache(50, 10), Cache(200, 10)}), 1);
}

// What the old hypervisor had inverted for nine years (reference: "weights inverted"). A share is
// weight / (all weights) of all ephemeral memory, compared without division.
RC_GTEST_PROP(RankByShare, NobodyUnderItsShareWhileAnotherIsAbove, ()) {
  const auto claims = *AnyClaims();
  const auto victim = Victim(claims);
  unsigned __int128 weights = 0;
  unsigned __int128 memory = 0;
  for (const Claim& claim : claims) {
    if (claim.ephemeral > 0) weights += claim.terms.weight;
    memory += claim.ephemeral;
  }
  RC_ASSERT(victim.has_value() == (memory > 0));
  if (!victim) return;
  const auto under = [&](const Claim& c) {
    return c.ephemeral * weights < memory * c.terms.weight;
  };
  const auto above = [&](const Claim& c) {
    return c.ephemeral * weights > memory * c.terms.weight;
  };
  RC_ASSERT(claims[*victim].ephemeral > 0);
  RC_ASSERT(!under(claims[*victim]));
  if (std::ranges::any_of(claims, above)) RC_ASSERT(above(claims[*victim]));
}

// With a taker the same holds for what everybody would hold then.
RC_GTEST_PROP(RankByShare, NobodyUnderItsShareForATakerAboveIt, ()) {
  const auto claims = *AnyClaims();
  const auto taker = *rc::gen::inRange<size_t>(0, claims.size());
  const auto victim = Victim(claims, taker);
  RC_ASSERT(victim.has_value() == Victim(claims).has_value());
  if (!victim) return;
  RC_ASSERT(claims[*victim].ephemeral > 0);
  if (claims[taker].ephemeral == 0) return;  // it has nothing to replace yet
  auto after = claims;
  ++after[taker].ephemeral;
  unsigned __int128 weights = 0;
  unsigned __int128 memory = 0;
  for (const Claim& claim : after) {
    if (claim.ephemeral > 0) weights += claim.terms.weight;
    memory += claim.ephemeral;
  }
  RC_ASSERT(after[*victim].ephemeral * weights >= memory * after[*victim].terms.weight);
  if (*victim != taker) {
    RC_ASSERT(uint64_t{after[taker].ephemeral} * after[*victim].terms.weight <=
              uint64_t{after[*victim].ephemeral} * after[taker].terms.weight);
  }
}

// A tie went to the lower number, so that one exactly at its share lost a segment to one that was
// at its own.
TEST(RankByShare, WhoTakesAtItsShareReplacesItsOwn) {
  const std::vector<Claim> claims = {Cache(100, 2), Cache(400, 8)};
  EXPECT_EQ(Victim(claims, 0), 0);
  EXPECT_EQ(Victim(claims, 1), 1);
}

TEST(RankByShare, WhoHoldsNothingYetTakesFromAnother) {
  EXPECT_EQ(Victim({Cache(1, 0), Cache(100, 50)}, 0), 1);
}

// Starting anywhere, evictions and equal demand from all lead to the weighted shares.
RC_GTEST_PROP(RankByShare, EqualDemandEndsInWeightedShares, ()) {
  const auto weights = *rc::gen::container<std::vector<uint32_t>>(4, rc::gen::inRange(1u, 10u));
  uint32_t total_weight = 0;
  for (const uint32_t weight : weights) total_weight += weight;
  const uint32_t segments_a_weight = 10;
  std::vector<Claim> claims;
  for (const uint32_t weight : weights) claims.push_back(Cache(weight, 0));
  const auto first = *rc::gen::inRange<size_t>(0, claims.size());
  claims[first].ephemeral = total_weight * segments_a_weight;  // one hog holds all

  // Each wants so much that even the heaviest can come to its share.
  const uint32_t rounds = total_weight * segments_a_weight * static_cast<uint32_t>(claims.size());
  for (uint32_t round = 0; round < 2 * rounds; ++round) {
    const size_t taker = round % claims.size();
    const auto victim = Victim(claims, taker);
    RC_ASSERT(victim.has_value());
    --claims[*victim].ephemeral;
    ++claims[taker].ephemeral;
  }
  for (const Claim& claim : claims) {
    RC_ASSERT(claim.ephemeral == claim.terms.weight * segments_a_weight);
  }
}

// Nobody's pages are safe from those who want no share any more.
TEST(RankByShare, WhoIsOnItsWayOutGoesFirst) {
  EXPECT_EQ(Victim({Cache(1, 50), Cache(0, 1), Cache(100, 1)}), 1);
}

TEST(RankByAge, WhoeverThatIs) {
  const auto rank = [](uint32_t weight, uint32_t ephemeral, uint64_t oldest) {
    Claim claim = Cache(weight, ephemeral);
    claim.oldest = oldest;
    return RankByAge(claim);
  };
  EXPECT_TRUE(rank(9, 1, 3).GoesBefore(rank(1, 9, 5)));
  EXPECT_FALSE(rank(1, 9, 5).GoesBefore(rank(9, 1, 3)));
  EXPECT_FALSE(rank(1, 9, 5).GoesBefore(rank(2, 8, 5)));
}

// ---- persistent pages ----

TEST(RefusePersistent, UpToTheCapacity) {
  std::vector<Claim> claims = {{.persistent = 9, .ephemeral = 100}};
  EXPECT_FALSE(RefusalOf(claims, 0, 10)) << "ephemeral pages make room";
  claims[0].persistent = 10;
  EXPECT_EQ(RefusalOf(claims, 0, 10), Refusal::kCapacity);
}

TEST(RefusePersistent, NotFromTheReserveOfAnother) {
  const std::vector<Claim> claims = {{.persistent = 6}, {.terms = {.reserve = 4}, .persistent = 1}};
  EXPECT_EQ(RefusalOf(claims, 0, 10), Refusal::kReserves);
  EXPECT_FALSE(RefusalOf(claims, 0, 11));
  EXPECT_FALSE(RefusalOf(claims, 1, 10));
}

TEST(RefusePersistent, UpToWhatThePolicyEntitlesTo) {
  const HostMemory host{.capacity = 100, .persistent = 7, .promised = 7};
  const Allotment allotment{.reserve = 1, .surrendered = 2, .share = 4};
  EXPECT_FALSE(RefusePersistent({.persistent = 6}, allotment, host));
  EXPECT_EQ(RefusePersistent({.persistent = 7}, allotment, host), Refusal::kEntitlement);
  EXPECT_FALSE(RefusePersistent({.terms = {.reserve = 8}, .persistent = 7}, allotment, host));
  EXPECT_EQ(RefusePersistent({.terms = {.cap = 7}, .persistent = 7}, allotment, host),
            Refusal::kCap);
  EXPECT_EQ(RefusePersistent({.persistent = 5}, {.share = 7, .total = 5}, host),
            Refusal::kEntitlement);
}

TEST(HoldsTooMuch, MoreThanItsEntitlementAndItsReserve) {
  const Allotment allotment{.surrendered = 2, .share = 4};
  EXPECT_FALSE(HoldsTooMuch({.persistent = 6}, allotment));
  EXPECT_TRUE(HoldsTooMuch({.persistent = 7}, allotment));
  EXPECT_FALSE(HoldsTooMuch({.terms = {.reserve = 7}, .persistent = 7}, allotment));
  EXPECT_TRUE(HoldsTooMuch({.persistent = 6}, {.share = 9, .total = 5}));
}

TEST(MissingTo, ItsReserveAndWhatItWantsOfItsEntitlement) {
  const Allotment allotment{.reserve = 3, .surrendered = 2, .share = 4};
  EXPECT_EQ(MissingTo({.terms = {.reserve = 3}, .persistent = 1}, allotment), 2);
  EXPECT_EQ(MissingTo({.terms = {.reserve = 3}, .persistent = 5}, allotment), 0);
  Claim claim{.terms = {.reserve = 3}, .persistent = 5, .wants_more = true};
  EXPECT_EQ(MissingTo(claim, allotment), 4);
  claim.terms.cap = 6;
  EXPECT_EQ(MissingTo(claim, allotment), 1);
  claim.persistent = 20;
  EXPECT_EQ(MissingTo(claim, allotment), 0);
}

TEST(HostMemory, IsCrowdedIfPersistentPagesLeaveTooLittle) {
  EXPECT_FALSE((HostMemory{.capacity = 10, .persistent = 10}).crowded());
  EXPECT_FALSE(
      (HostMemory{.capacity = 10, .persistent = 7, .ephemeral = 3, .missing = 3}).crowded())
      << "ephemeral pages make room";
  EXPECT_TRUE((HostMemory{.capacity = 10, .persistent = 8, .missing = 3}).crowded());
}

TEST(AtOwnLimit, CountsBothClasses) {
  const Claim claim{.terms = {.cap = 9}, .persistent = 4, .ephemeral = 4};
  EXPECT_FALSE(AtOwnLimit(claim, {}));
  EXPECT_EQ(AtOwnLimit(claim, {.total = 8}), Refusal::kEntitlement);
  Claim at_cap = claim;
  ++at_cap.ephemeral;
  EXPECT_EQ(AtOwnLimit(at_cap, {}), Refusal::kCap);
}

// Persistent memory never exceeds the capacity, nor what is promised exceeds it by anybody's taking
// more than a reserve; and while reserves fit the capacity, every reserve can be drawn in full.
RC_GTEST_PROP(RefusePersistent, KeepsItsPromises, ()) {
  auto claims = *AnyClaims();
  const auto capacity = *rc::gen::inRange(1u, 200u);
  for (Claim& claim : claims) claim.persistent = 0;
  const bool reserves_fit = HostOf(claims, capacity).promised <= capacity;

  const auto takers =
      *rc::gen::container<std::vector<size_t>>(300, rc::gen::inRange<size_t>(0, claims.size()));
  for (const size_t taker : takers) {
    const bool within_reserve = claims[taker].persistent < claims[taker].terms.reserve;
    const bool may = !RefusalOf(claims, taker, capacity);
    if (reserves_fit && within_reserve) RC_ASSERT(may);
    if (!may) continue;
    ++claims[taker].persistent;
    RC_ASSERT(HostOf(claims, capacity).persistent <= capacity);
    if (!within_reserve) RC_ASSERT(HostOf(claims, capacity).promised <= capacity);
  }
  if (!reserves_fit) return;
  RC_ASSERT(HostOf(claims, capacity).promised <= capacity);
  for (size_t i = 0; i < claims.size(); ++i) {
    while (claims[i].persistent < claims[i].terms.reserve) {
      RC_ASSERT(!RefusalOf(claims, i, capacity));
      ++claims[i].persistent;
    }
  }
}

// A refusal has a reason: one segment more would break a promise or the capacity.
RC_GTEST_PROP(RefusePersistent, RefusesOnlyForAPromise, ()) {
  const auto claims = *AnyClaims();
  const auto capacity = *rc::gen::inRange(1u, 500u);
  const auto self = *rc::gen::inRange<size_t>(0, claims.size());
  const auto refusal = RefusalOf(claims, self, capacity);
  if (!refusal) return;
  auto after = claims;
  ++after[self].persistent;
  const HostMemory host = HostOf(after, capacity);
  RC_ASSERT((*refusal == Refusal::kCapacity ? host.persistent : host.promised) > capacity);
}

// ---- weighted max-min ----

rc::Gen<std::vector<Demand>> AnyDemands() {
  return rc::gen::container<std::vector<Demand>>(
      rc::gen::apply([](uint32_t weight, uint32_t most) { return Demand{weight, most}; },
                     rc::gen::oneOf(rc::gen::inRange(0u, 20u), rc::gen::just(65'535u)),
                     rc::gen::oneOf(rc::gen::inRange(0u, 300u), rc::gen::just(kNoLimit))));
}

uint64_t Sum(const std::vector<uint32_t>& parts) {
  return std::accumulate(parts.begin(), parts.end(), uint64_t{0});
}

TEST(WeightedMaxMin, WhatOneDoesNotWantGoesToTheOthers) {
  const std::vector<Demand> demands = {{100, 10}, {100, kNoLimit}, {200, kNoLimit}, {50, 0}};
  EXPECT_EQ(WeightedMaxMin(100, demands), (std::vector<uint32_t>{10, 30, 60, 0}));
}

TEST(WeightedMaxMin, WhatIsLeftOverGoesToTheHeaviest) {
  const std::vector<Demand> demands = {{1, kNoLimit}, {2, kNoLimit}, {2, kNoLimit}};
  EXPECT_EQ(WeightedMaxMin(4, demands), (std::vector<uint32_t>{0, 2, 2}));
  EXPECT_EQ(WeightedMaxMin(1, demands), (std::vector<uint32_t>{0, 1, 0}));
}

// All is handed out if it is wanted; nobody gets more than it wants; and who gets less than it
// wants gets, but for one segment, no less for its weight than anybody else.
RC_GTEST_PROP(WeightedMaxMin, IsMaxMin, ()) {
  const auto demands = *AnyDemands();
  const auto amount = *rc::gen::inRange(0u, 1000u);
  const auto parts = WeightedMaxMin(amount, demands);
  uint64_t wanted = 0;
  for (const Demand& demand : demands) wanted += demand.weight == 0 ? 0 : demand.most;
  RC_ASSERT(Sum(parts) == std::min<uint64_t>(amount, wanted));
  for (size_t i = 0; i < demands.size(); ++i) {
    RC_ASSERT(parts[i] <= (demands[i].weight == 0 ? 0 : demands[i].most));
    if (demands[i].weight == 0 || parts[i] == demands[i].most) continue;
    for (size_t other = 0; other < demands.size(); ++other) {
      if (parts[other] == 0) continue;
      RC_ASSERT((uint64_t{parts[other]} - 1) * demands[i].weight <=
                (uint64_t{parts[i]} + 1) * demands[other].weight);
    }
  }
}

RC_GTEST_PROP(WeightedMaxMin, MoreWeightOrDemandNeverYieldsLess, ()) {
  auto demands = *rc::gen::nonEmpty(AnyDemands());
  const auto amount = *rc::gen::inRange(0u, 1000u);
  const auto self = *rc::gen::inRange<size_t>(0, demands.size());
  const uint32_t before = WeightedMaxMin(amount, demands)[self];
  demands[self].weight += *rc::gen::inRange(0u, 1000u);
  const uint32_t heavier = WeightedMaxMin(amount, demands)[self];
  RC_ASSERT(heavier >= before);
  const uint32_t more = *rc::gen::inRange(0u, 1000u);
  demands[self].most = std::max(demands[self].most, demands[self].most + more);
  RC_ASSERT(WeightedMaxMin(amount, demands)[self] >= heavier);
}

// ---- the ephemeral share ----

TEST(EphemeralShare, IsWhatOneCanHoldBeforeItIsTheVictim) {
  const std::vector<Claim> claims = {Cache(100, 30), Cache(100, 60), Cache(200, 10)};
  const HostMemory host{.capacity = 120, .persistent = 20};
  EXPECT_EQ(EphemeralShare(claims, ByWeight(claims), host, 0), 45);
  EXPECT_EQ(EphemeralShare(claims, ByWeight(claims), host, 1), 60);
  EXPECT_EQ(EphemeralShare(claims, ByWeight(claims), host, 2), 50);
  EXPECT_EQ(EphemeralShare(claims, ByWeight(claims), {.capacity = 20, .persistent = 20}, 0), 0);
}

}  // namespace
}  // namespace tmem
