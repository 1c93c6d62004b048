#include "pools/admission.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <vector>

namespace tmem {
namespace {

rc::Gen<Claim> AnyClaim() {
  return rc::gen::build<Claim>(
      rc::gen::set(&Claim::weight,
                   rc::gen::oneOf(rc::gen::inRange(1u, 200u), rc::gen::element(1u, 65'535u))),
      rc::gen::set(&Claim::reserve, rc::gen::inRange(0u, 50u)),
      rc::gen::set(&Claim::persistent, rc::gen::inRange(0u, 50u)),
      rc::gen::set(&Claim::ephemeral, rc::gen::oneOf(rc::gen::just(0u), rc::gen::inRange(0u, 100u),
                                                     rc::gen::just(1u << 30))));
}

rc::Gen<std::vector<Claim>> AnyClaims() {
  return rc::gen::nonEmpty(rc::gen::container<std::vector<Claim>>(AnyClaim()));
}

uint64_t Held(const std::vector<Claim>& claims) {
  uint64_t held = 0;
  for (const Claim& claim : claims) held += claim.persistent;
  return held;
}

uint64_t Promised(const std::vector<Claim>& claims) {
  uint64_t promised = 0;
  for (const Claim& claim : claims) promised += std::max(claim.persistent, claim.reserve);
  return promised;
}

// ---- who goes first ----

TEST(PickVictim, NobodyWhoHoldsNothing) {
  EXPECT_FALSE(PickVictim({}));
  const std::vector<Claim> claims = {{.weight = 1}, {.weight = 5, .persistent = 9}};
  EXPECT_FALSE(PickVictim(claims));
}

TEST(PickVictim, TheLightOneThatHoldsAsMuch) {
  const std::vector<Claim> claims = {{.weight = 100, .ephemeral = 10},
                                     {.weight = 50, .ephemeral = 10},
                                     {.weight = 200, .ephemeral = 10}};
  EXPECT_EQ(PickVictim(claims), 1);
}

// What the old hypervisor had inverted for nine years (reference: "weights inverted"). A share is
// weight / (all weights) of all ephemeral memory, compared without division.
RC_GTEST_PROP(PickVictim, NobodyUnderItsShareWhileAnotherIsAbove, ()) {
  const auto claims = *AnyClaims();
  const auto victim = PickVictim(claims);
  unsigned __int128 weights = 0;
  unsigned __int128 memory = 0;
  for (const Claim& claim : claims) {
    if (claim.ephemeral > 0) weights += claim.weight;
    memory += claim.ephemeral;
  }
  RC_ASSERT(victim.has_value() == (memory > 0));
  if (!victim) return;
  const auto under = [&](const Claim& c) { return c.ephemeral * weights < memory * c.weight; };
  const auto above = [&](const Claim& c) { return c.ephemeral * weights > memory * c.weight; };
  RC_ASSERT(claims[*victim].ephemeral > 0);
  RC_ASSERT(!under(claims[*victim]));
  if (std::ranges::any_of(claims, above)) RC_ASSERT(above(claims[*victim]));
}

// With a taker the same holds for what everybody would hold then.
RC_GTEST_PROP(PickVictim, NobodyUnderItsShareForATakerAboveIt, ()) {
  const auto claims = *AnyClaims();
  const auto taker = *rc::gen::inRange<size_t>(0, claims.size());
  const auto victim = PickVictim(claims, taker);
  RC_ASSERT(victim.has_value() == PickVictim(claims).has_value());
  if (!victim) return;
  RC_ASSERT(claims[*victim].ephemeral > 0);
  if (claims[taker].ephemeral == 0) return;  // it has nothing to replace yet
  auto after = claims;
  ++after[taker].ephemeral;
  unsigned __int128 weights = 0;
  unsigned __int128 memory = 0;
  for (const Claim& claim : after) {
    if (claim.ephemeral > 0) weights += claim.weight;
    memory += claim.ephemeral;
  }
  RC_ASSERT(after[*victim].ephemeral * weights >= memory * after[*victim].weight);
  if (*victim != taker) {
    RC_ASSERT(uint64_t{after[taker].ephemeral} * after[*victim].weight <=
              uint64_t{after[*victim].ephemeral} * after[taker].weight);
  }
}

// A tie went to the lower number, so that one exactly at its share lost a segment to one that was
// at its own.
TEST(PickVictim, WhoTakesAtItsShareReplacesItsOwn) {
  const std::vector<Claim> claims = {{.weight = 100, .ephemeral = 2},
                                     {.weight = 400, .ephemeral = 8}};
  EXPECT_EQ(PickVictim(claims, 0), 0);
  EXPECT_EQ(PickVictim(claims, 1), 1);
}

TEST(PickVictim, WhoHoldsNothingYetTakesFromAnother) {
  const std::vector<Claim> claims = {{.weight = 1}, {.weight = 100, .ephemeral = 50}};
  EXPECT_EQ(PickVictim(claims, 0), 1);
}

// Starting anywhere, evictions and equal demand from all lead to the weighted shares.
RC_GTEST_PROP(PickVictim, EqualDemandEndsInWeightedShares, ()) {
  const auto weights = *rc::gen::container<std::vector<uint32_t>>(4, rc::gen::inRange(1u, 10u));
  uint32_t total_weight = 0;
  for (const uint32_t weight : weights) total_weight += weight;
  const uint32_t segments_a_weight = 10;
  std::vector<Claim> claims;
  for (const uint32_t weight : weights) claims.push_back({.weight = weight});
  const auto first = *rc::gen::inRange<size_t>(0, claims.size());
  claims[first].ephemeral = total_weight * segments_a_weight;  // one hog holds all

  // Each wants so much that even the heaviest can come to its share.
  const uint32_t rounds = total_weight * segments_a_weight * static_cast<uint32_t>(claims.size());
  for (uint32_t round = 0; round < 2 * rounds; ++round) {
    const size_t taker = round % claims.size();
    const auto victim = PickVictim(claims, taker);
    RC_ASSERT(victim.has_value());
    --claims[*victim].ephemeral;
    ++claims[taker].ephemeral;
  }
  for (const Claim& claim : claims) {
    RC_ASSERT(claim.ephemeral == claim.weight * segments_a_weight);
  }
}

// ---- persistent pages ----

TEST(MayTakePersistent, UpToTheCapacity) {
  std::vector<Claim> claims = {{.persistent = 9, .ephemeral = 100}};
  EXPECT_TRUE(MayTakePersistent(claims, 0, 10)) << "ephemeral pages make room";
  claims[0].persistent = 10;
  EXPECT_FALSE(MayTakePersistent(claims, 0, 10));
}

TEST(MayTakePersistent, NotFromTheReserveOfAnother) {
  const std::vector<Claim> claims = {{.persistent = 6}, {.reserve = 4, .persistent = 1}};
  EXPECT_FALSE(MayTakePersistent(claims, 0, 10));
  EXPECT_TRUE(MayTakePersistent(claims, 0, 11));
  EXPECT_TRUE(MayTakePersistent(claims, 1, 10));
}

// Persistent memory never exceeds the capacity, nor what is promised exceeds it by anybody's taking
// more than a reserve; and while reserves fit the capacity, every reserve can be drawn in full.
RC_GTEST_PROP(MayTakePersistent, KeepsItsPromises, ()) {
  auto claims = *AnyClaims();
  const auto capacity = *rc::gen::inRange(1u, 200u);
  for (Claim& claim : claims) claim.persistent = 0;
  const bool reserves_fit = Promised(claims) <= capacity;

  const auto takers =
      *rc::gen::container<std::vector<size_t>>(300, rc::gen::inRange<size_t>(0, claims.size()));
  for (const size_t taker : takers) {
    const bool within_reserve = claims[taker].persistent < claims[taker].reserve;
    const bool may = MayTakePersistent(claims, taker, capacity);
    if (reserves_fit && within_reserve) RC_ASSERT(may);
    if (!may) continue;
    ++claims[taker].persistent;
    RC_ASSERT(Held(claims) <= capacity);
    if (!within_reserve) RC_ASSERT(Promised(claims) <= capacity);
  }
  if (!reserves_fit) return;
  RC_ASSERT(Promised(claims) <= capacity);
  for (size_t i = 0; i < claims.size(); ++i) {
    while (claims[i].persistent < claims[i].reserve) {
      RC_ASSERT(MayTakePersistent(claims, i, capacity));
      ++claims[i].persistent;
    }
  }
}

// A refusal has a reason: one segment more would break a promise or the capacity.
RC_GTEST_PROP(MayTakePersistent, RefusesOnlyForAPromise, ()) {
  const auto claims = *AnyClaims();
  const auto capacity = *rc::gen::inRange(1u, 500u);
  const auto self = *rc::gen::inRange<size_t>(0, claims.size());
  if (MayTakePersistent(claims, self, capacity)) return;
  auto after = claims;
  ++after[self].persistent;
  RC_ASSERT((Held(after) > capacity || Promised(after) > capacity));
}

}  // namespace
}  // namespace tmem
