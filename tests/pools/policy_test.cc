// What every policy owes, on generated guests; and what each promises by itself.
#include "pools/policy.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "pools/smart_alloc.h"
#include "pools/utility.h"

namespace tmem {
namespace {

using std::chrono::seconds;

// Guests who hold what they can hold of a host's memory.
struct Scene {
  HostMemory host;
  std::vector<Claim> claims;
  PolicySettings settings;

  std::vector<Allotment> Allot(const Policy& policy) const {
    std::vector<Allotment> allotments(claims.size());
    policy.Allot(host, claims, allotments);
    return allotments;
  }
  std::vector<Allotment> Allot() const { return Allot(*MakePolicy(settings)); }
  uint32_t Unclaimed() const {
    std::vector<Allotment> scratch(claims.size());
    return AllotGuarantees(host, claims, settings.surrender_percent, scratch);
  }
};

void showValue(const Scene& scene, std::ostream& out) {
  out << NameOf(scene.settings.kind) << ", percent " << scene.settings.surrender_percent
      << ", capacity " << scene.host.capacity;
  for (const Claim& claim : scene.claims) {
    out << "; weight " << claim.terms.weight << " reserve " << claim.terms.reserve << " cap "
        << claim.terms.cap << " surrendered " << claim.terms.surrendered << " holds "
        << claim.persistent << (claim.wants_more ? " wants more" : "");
  }
}

rc::Gen<Claim> AnyGuest() {
  return rc::gen::apply(
      [](uint32_t weight, uint32_t reserve, uint32_t surrendered, uint32_t persistent,
         bool wants_more, uint32_t room) {
        return Claim{.terms = {.weight = weight,
                               .reserve = reserve,
                               .cap = room == 0 ? kNoLimit : reserve + room,
                               .surrendered = surrendered},
                     .persistent = persistent,
                     .wants_more = wants_more};
      },
      rc::gen::oneOf(rc::gen::inRange(1u, 20u), rc::gen::element(100u, 65'535u)),
      rc::gen::oneOf(rc::gen::just(0u), rc::gen::inRange(0u, 40u)),
      rc::gen::oneOf(rc::gen::just(0u), rc::gen::inRange(0u, 60u)), rc::gen::inRange(0u, 60u),
      rc::gen::arbitrary<bool>(), rc::gen::oneOf(rc::gen::just(0u), rc::gen::inRange(1u, 60u)));
}

rc::Gen<Scene> AnyScene(rc::Gen<PolicyKind> kind) {
  return rc::gen::apply(
      [](std::vector<Claim> claims, uint32_t capacity, PolicyKind policy, uint32_t ratio) {
        Scene scene{.host = {.capacity = capacity},
                    .claims = std::move(claims),
                    .settings = {.kind = policy, .surrender_percent = ratio * 25}};
        uint64_t tenant = 0;
        for (Claim& claim : scene.claims) {
          claim.tenant = ++tenant;
          claim.persistent = std::min(claim.persistent, capacity - scene.host.persistent);
          scene.host.persistent += claim.persistent;
          scene.host.promised += PromisedTo(claim);
        }
        return scene;
      },
      rc::gen::nonEmpty(rc::gen::container<std::vector<Claim>>(AnyGuest())),
      rc::gen::inRange(1u, 400u), std::move(kind), rc::gen::inRange(0u, 9u));
}

rc::Gen<PolicyKind> AnyPolicy() {
  return rc::gen::map(rc::gen::inRange<size_t>(0, kPolicyNames.size()),
                      [](size_t i) { return static_cast<PolicyKind>(i); });
}

rc::Gen<Scene> AnySceneOf(PolicyKind kind) { return AnyScene(rc::gen::just(kind)); }

size_t AnyOf(const Scene& scene) { return *rc::gen::inRange<size_t>(0, scene.claims.size()); }

uint64_t Entitled(const Scene& scene, size_t self) { return scene.Allot()[self].persistent(); }

// ---- all of them ----

RC_GTEST_PROP(EveryPolicy, GivesNobodyLessForMoreWeight, ()) {
  auto scene = *AnyScene(AnyPolicy());
  const size_t self = AnyOf(scene);
  const Allotment before = scene.Allot()[self];
  scene.claims[self].terms.weight += *rc::gen::inRange(0u, 100u);
  const Allotment after = scene.Allot()[self];
  RC_ASSERT(after.persistent() >= before.persistent());
  RC_ASSERT(after.total >= before.total);
  RC_ASSERT(after.ephemeral_weight >= before.ephemeral_weight);
}

RC_GTEST_PROP(EveryPolicy, GivesNobodyLessForAReserve, ()) {
  const auto scene = *AnyScene(AnyPolicy());
  const auto allotments = scene.Allot();
  for (size_t i = 0; i < scene.claims.size(); ++i) {
    RC_ASSERT(allotments[i].persistent() >= scene.claims[i].terms.reserve);
    RC_ASSERT(allotments[i].total >= scene.claims[i].terms.reserve);
  }
}

RC_GTEST_PROP(EveryPolicy, GivesNothingToWhoIsOnItsWayOut, ()) {
  auto scene =
      *AnyScene(rc::gen::element(PolicyKind::kStatic, PolicyKind::kSurrender, PolicyKind::kMaxMin,
                                 PolicyKind::kSmartAlloc, PolicyKind::kUtility));
  const size_t self = AnyOf(scene);
  scene.claims[self].terms = {.weight = 0};
  RC_ASSERT(Entitled(scene, self) == 0u);
}

// ... and gives it to those who stay.
RC_GTEST_PROP(EveryPolicy, GivesNobodyLessWhenAnotherGoes, ()) {
  auto scene = *AnyScene(AnyPolicy());
  RC_PRE(scene.claims.size() > 1);
  const size_t leaver = AnyOf(scene);
  const auto before = scene.Allot();
  scene.claims[leaver].terms = {.weight = 0};
  const auto after = scene.Allot();
  for (size_t i = 0; i < scene.claims.size(); ++i) {
    // Whole numbers: another may get the segment that division leaves over.
    if (i != leaver) RC_ASSERT(after[i].persistent() + 2 >= before[i].persistent());
  }
}

// Whoever holds how much under whatever policy: a refusal never denies a reserve, and what is
// granted never exceeds capacity or breaks a promise.
RC_GTEST_PROP(EveryPolicy, LeavesReservesToTheirOwners, ()) {
  auto scene = *AnyScene(AnyPolicy());
  for (Claim& claim : scene.claims) claim.persistent = 0;
  scene.host.persistent = 0;
  uint64_t reserves = 0;
  for (const Claim& claim : scene.claims) reserves += claim.terms.reserve;
  RC_PRE(reserves <= scene.host.capacity);
  scene.host.promised = reserves;

  const auto take = [&](size_t i) {
    Claim& claim = scene.claims[i];
    if (RefusePersistent(claim, scene.Allot()[i], scene.host)) return false;
    scene.host.promised -= PromisedTo(claim);
    ++claim.persistent;
    ++scene.host.persistent;
    scene.host.promised += PromisedTo(claim);
    RC_ASSERT(scene.host.promised <= scene.host.capacity);
    return true;
  };
  const auto takers = *rc::gen::container<std::vector<size_t>>(
      100, rc::gen::inRange<size_t>(0, scene.claims.size()));
  for (const size_t taker : takers) take(taker);
  for (size_t i = 0; i < scene.claims.size(); ++i) {
    while (scene.claims[i].persistent < scene.claims[i].terms.reserve) RC_ASSERT(take(i));
  }
}

// ---- smart-alloc, utility ----

// Whatever they saw: what they entitle guests to can be had at once, and nobody's part is above its
// cap.
RC_GTEST_PROP(Learners, EntitleToWhatTheHostHas, ()) {
  auto scene = *AnyScene(rc::gen::element(PolicyKind::kSmartAlloc, PolicyKind::kUtility));
  std::shared_ptr<const Policy> policy = MakePolicy(scene.settings);
  for (int second = 0; second < 20; ++second) {
    std::vector<Observation> observed(scene.claims.size());
    for (Observation& one : observed) {
      one.refused = *rc::gen::element(0u, 1u, 1000u);
      if (*rc::gen::arbitrary<bool>()) one.saved = *rc::gen::inRange(0, 1000);
    }
    policy = policy->Learn(scene.host, scene.claims, observed, seconds(1));
    uint64_t entitled = 0;
    uint64_t reserves = 0;
    const auto allotments = scene.Allot(*policy);
    for (size_t i = 0; i < allotments.size(); ++i) {
      RC_ASSERT(allotments[i].persistent() >= scene.claims[i].terms.reserve);
      RC_ASSERT(allotments[i].persistent() <= scene.claims[i].terms.cap);
      entitled += allotments[i].persistent();
      reserves += allotments[i].reserve;
    }
    RC_ASSERT(entitled <= std::max<uint64_t>(scene.host.capacity, reserves));
  }
}

// A target that others' pages or reserves keep from being had is not raised further and further.
RC_GTEST_PROP(Learners, RunNotAheadOfWhatIsHeld, ()) {
  constexpr uint32_t kCapacity = 400;
  const auto kind = *rc::gen::element(PolicyKind::kSmartAlloc, PolicyKind::kUtility);
  const double step =
      kCapacity *
      (kind == PolicyKind::kUtility ? Utility::kStep * Utility::kMostPace : SmartAlloc::kStep);
  Scene scene{.host = {.capacity = kCapacity},
              .claims = {{.terms = {.weight = *rc::gen::inRange(1u, 100u)}, .tenant = 1},
                         {.persistent = 300, .tenant = 2}},
              .settings = {.kind = kind}};
  scene.claims[0].persistent = *rc::gen::inRange(0u, 100u);
  std::shared_ptr<const Policy> policy = MakePolicy(scene.settings);
  const uint64_t first = scene.Allot(*policy)[0].persistent();
  for (int second = 0; second < 100; ++second) {
    policy = policy->Learn(scene.host, scene.claims,
                           std::vector<Observation>{{.refused = 100, .saved = 100}, {.saved = 0}},
                           seconds(1));
  }
  RC_ASSERT(scene.Allot(*policy)[0].persistent() <=
            std::max<uint64_t>(first, scene.claims[0].persistent + 1 + step));
}

// ---- surrender, max-min ----

RC_GTEST_PROP(GoodCitizens, AreEntitledToWhatTheHostHas, ()) {
  const auto scene = *AnyScene(rc::gen::element(PolicyKind::kSurrender, PolicyKind::kMaxMin));
  uint64_t entitled = 0;
  uint64_t reserves = 0;
  for (const Allotment& allotment : scene.Allot()) {
    entitled += allotment.persistent();
    reserves += allotment.reserve;
  }
  RC_ASSERT(entitled <= std::max<uint64_t>(scene.host.capacity, reserves));
}

RC_GTEST_PROP(GoodCitizens, GetNoLessForSurrenderingMore, ()) {
  auto scene = *AnyScene(rc::gen::element(PolicyKind::kSurrender, PolicyKind::kMaxMin));
  const size_t self = AnyOf(scene);
  const uint64_t before = Entitled(scene, self);
  scene.claims[self].terms.surrendered += *rc::gen::inRange(0u, 200u);
  RC_ASSERT(Entitled(scene, self) >= before);
}

RC_GTEST_PROP(GoodCitizens, GetWhatTheySurrenderedIfTheHostHasIt, ()) {
  const auto scene = *AnyScene(rc::gen::element(PolicyKind::kSurrender, PolicyKind::kMaxMin));
  uint64_t promised = 0;
  for (const Claim& claim : scene.claims) {
    promised += claim.terms.reserve +
                uint64_t{claim.terms.surrendered} * scene.settings.surrender_percent / 100;
  }
  RC_PRE(promised <= scene.host.capacity);
  const auto allotments = scene.Allot();
  for (size_t i = 0; i < scene.claims.size(); ++i) {
    const Terms& terms = scene.claims[i].terms;
    const auto earned = uint64_t{terms.surrendered} * scene.settings.surrender_percent / 100;
    RC_ASSERT(allotments[i].persistent() >= std::min<uint64_t>(terms.reserve + earned, terms.cap));
  }
}

// A guest's part of the unclaimed memory, if all wanted theirs.
uint64_t EqualPart(const Scene& scene, size_t self) {
  uint64_t weights = 0;
  for (const Claim& claim : scene.claims) weights += claim.terms.weight;
  return uint64_t{scene.Unclaimed()} * scene.claims[self].terms.weight / weights;
}

// However others behave, whatever they pretend to want, however much they hold already: one that
// wants its part is entitled to it, and one that does not keeps an eighth of it to come back to.
RC_GTEST_PROP(MaxMin, NobodyLosesItsPartToALiar, ()) {
  const auto scene = *AnySceneOf(PolicyKind::kMaxMin);
  const auto allotments = scene.Allot();
  for (size_t i = 0; i < scene.claims.size(); ++i) {
    const Claim& claim = scene.claims[i];
    const uint64_t room =
        claim.terms.cap - (uint64_t{allotments[i].reserve} + allotments[i].surrendered);
    const uint64_t own = std::min(room, EqualPart(scene, i));
    RC_ASSERT(allotments[i].share >= (claim.wants_more ? own : own / 8));
  }
}

// To want more, or to pretend to, gets one what others lend, and no more than that.
RC_GTEST_PROP(MaxMin, WhoWantsMoreGetsWhatOthersLend, ()) {
  auto scene = *AnySceneOf(PolicyKind::kMaxMin);
  const size_t self = AnyOf(scene);
  scene.claims[self].wants_more = false;
  const uint64_t modest = Entitled(scene, self);
  scene.claims[self].wants_more = true;
  RC_ASSERT(Entitled(scene, self) >= modest);
  for (Claim& claim : scene.claims) {
    claim.wants_more = true;
    claim.terms.cap = kNoLimit;
  }
  const auto allotments = scene.Allot();
  RC_ASSERT(allotments[self].share <= EqualPart(scene, self) + 1);
}

TEST(MaxMin, DividesWhatNobodyClaimsByWeight) {
  const Scene scene{
      .host = {.capacity = 100},
      .claims = {{.terms = {.weight = 100, .reserve = 10, .surrendered = 20}, .wants_more = true},
                 {.terms = {.weight = 200, .surrendered = 10}, .wants_more = true},
                 {.terms = {.weight = 100}, .persistent = 1}},
      .settings = {.surrender_percent = 50}};
  const auto allotments = scene.Allot();
  EXPECT_EQ(scene.Unclaimed(), 75);
  EXPECT_EQ(allotments[2], (Allotment{.share = 5, .ephemeral_weight = 100}))
      << "18, of which it lends what it does not use: it holds 1, and may add 4";
  EXPECT_EQ(allotments[0],
            (Allotment{.reserve = 10, .surrendered = 10, .share = 23, .ephemeral_weight = 100}));
  EXPECT_EQ(allotments[1], (Allotment{.surrendered = 5, .share = 47, .ephemeral_weight = 200}));
}

TEST(Surrender, MemoryThatTheHostHasNotCountsInProportion) {
  const Scene scene{
      .host = {.capacity = 100},
      .claims = {{.terms = {.reserve = 40, .surrendered = 30}}, {.terms = {.surrendered = 90}}},
      .settings = {.kind = PolicyKind::kSurrender}};
  EXPECT_EQ(Entitled(scene, 0), 40 + 15);
  EXPECT_EQ(Entitled(scene, 1), 45);
  EXPECT_EQ(scene.Unclaimed(), 0);
}

// ---- static ----

RC_GTEST_PROP(Static, PartsAddUpToTheCapacity, ()) {
  auto scene = *AnySceneOf(PolicyKind::kStatic);
  for (Claim& claim : scene.claims) claim.terms.reserve = 0;
  uint64_t parts = 0;
  for (const Allotment& allotment : scene.Allot()) {
    parts += allotment.total;
    RC_ASSERT(allotment.persistent() == allotment.total);
  }
  RC_ASSERT(parts == scene.host.capacity);
}

// ---- smart-alloc ----

// One interval after the other, in which guests hold all that they are entitled to and want.
class SmartAllocRun {
 public:
  explicit SmartAllocRun(std::vector<uint32_t> wanted, uint32_t capacity) : wanted_(wanted) {
    scene_.host.capacity = capacity;
    for (size_t i = 0; i < wanted_.size(); ++i) scene_.claims.push_back({.tenant = i + 1});
  }
  std::vector<Allotment> Next() {
    const auto allotments = scene_.Allot(*policy_);
    std::vector<Observation> observed(wanted_.size());
    for (size_t i = 0; i < wanted_.size(); ++i) {
      scene_.claims[i].persistent =
          static_cast<uint32_t>(std::min<uint64_t>(wanted_[i], allotments[i].persistent()));
      observed[i].refused = scene_.claims[i].persistent < wanted_[i];
    }
    policy_ = policy_->Learn(scene_.host, scene_.claims, observed, seconds(1));
    return allotments;
  }

 private:
  std::vector<uint32_t> wanted_;
  Scene scene_;
  std::shared_ptr<const Policy> policy_ = std::make_shared<SmartAlloc>();
};

TEST(SmartAlloc, TargetsFollowRefusedPuts) {
  SmartAllocRun run({10'000, 100, 0}, 3000);
  const auto first = run.Next();
  EXPECT_EQ(first[0].share, 1000);
  for (int i = 0; i < 500; ++i) run.Next();
  const auto last = run.Next();
  EXPECT_GT(last[0].share, 2700);
  EXPECT_GE(last[1].share, 100);
  EXPECT_LT(last[2].share, 100);
}

RC_GTEST_PROP(SmartAlloc, SettlesWithinItsStep, ()) {
  constexpr uint32_t kCapacity = 1000;
  SmartAllocRun run(*rc::gen::container<std::vector<uint32_t>>(4, rc::gen::inRange(0u, 1000u)),
                    kCapacity);
  for (int i = 0; i < 1000; ++i) run.Next();
  std::vector<Allotment> least = run.Next();
  std::vector<Allotment> most = least;
  for (int i = 0; i < 200; ++i) {
    const auto now = run.Next();
    for (size_t g = 0; g < now.size(); ++g) {
      least[g].share = std::min(least[g].share, now[g].share);
      most[g].share = std::max(most[g].share, now[g].share);
    }
  }
  for (size_t g = 0; g < least.size(); ++g) {
    RC_ASSERT(most[g].share - least[g].share <= 3 * kCapacity * SmartAlloc::kStep);
  }
}

// ---- utility ----

// One interval after the other, in which guests hold all that they are entitled to.
class UtilityRun {
 public:
  explicit UtilityRun(std::vector<Terms> terms) {
    scene_.host.capacity = 100;
    for (const Terms& one : terms) {
      scene_.claims.push_back({.terms = one, .tenant = scene_.claims.size() + 1});
    }
  }
  std::vector<Claim>& claims() { return scene_.claims; }
  // What a segment more would save of each; what they are entitled to after so long.
  std::vector<uint64_t> After(int intervals, const std::vector<std::optional<double>>& saved) {
    std::vector<Observation> observed;
    for (const auto& one : saved) observed.push_back({.saved = one});
    std::vector<uint64_t> entitled(saved.size());
    for (int i = 0; i < intervals; ++i) {
      policy_ = policy_->Learn(scene_.host, scene_.claims, observed, seconds(1));
      const auto allotments = scene_.Allot(*policy_);
      for (size_t guest = 0; guest < saved.size(); ++guest) {
        entitled[guest] = allotments[guest].persistent();
        scene_.claims[guest].persistent = static_cast<uint32_t>(entitled[guest]);
      }
    }
    return entitled;
  }

 private:
  Scene scene_;
  std::shared_ptr<const Policy> policy_ = std::make_shared<Utility>();
};

TEST(Utility, TakesFromWhoLosesLeast) {
  UtilityRun run(std::vector<Terms>(3));
  const auto entitled = run.After(10, {100, 10, 50});
  EXPECT_GT(entitled[0], 45);
  EXPECT_LT(entitled[1], 20);
  EXPECT_GT(entitled[2], entitled[1] + 5);
}

TEST(Utility, GoesFasterAsLongAsItGoesOn) {
  UtilityRun run(std::vector<Terms>(2));
  run.After(5, {100, 10});
  const auto first = run.After(1, {100, 10});
  const auto later = run.After(6, {100, 10});
  EXPECT_GT(later[0] - first[0], 13) << "2 each interval at first";
}

TEST(Utility, LeavesWhatIsWorthAboutTheSameWhereItIs) {
  UtilityRun run(std::vector<Terms>(2));
  EXPECT_EQ(run.After(20, {100, 81}), (std::vector<uint64_t>{50, 50}));
}

TEST(Utility, LeavesReservesAndAPartByWeight) {
  UtilityRun run({{}, {.reserve = 20}, {}});
  EXPECT_EQ(run.After(500, {100, 0, 0}), (std::vector<uint64_t>{77, 20, 2}));
}

TEST(Utility, WhoLostNothingGivesWhatItDoesNotUse) {
  UtilityRun run(std::vector<Terms>(2));
  run.claims()[1].persistent = 20;
  EXPECT_GE(run.After(1, {0, {}})[1], 48);
  UtilityRun idle(std::vector<Terms>(2));
  for (int i = 0; i < 100; ++i) {
    idle.After(1, {10, {}});
    idle.claims()[1].persistent = 20;
  }
  EXPECT_EQ(idle.After(1, {10, {}})[1], 23) << "a segment and a step more than it holds";
}

// The mean of what was saved goes on for a while after there is nothing to be saved any more: until
// then memory went on to who did not need it.
TEST(Utility, TakesNothingForWhatIsSavedNoMore) {
  UtilityRun run(std::vector<Terms>(2));
  const auto before = run.After(10, {100'000, 10});
  EXPECT_EQ(run.After(10, {0, 10}), before);
}

// What a guest had that left, and what one may not have that is at its cap, was nobody's.
TEST(Utility, WhatNobodyHasGoesToWhoAsksForIt) {
  UtilityRun run({{}, {}, {.cap = 10}});
  run.After(1, {0, 0, 0});
  run.claims()[1].terms = {.weight = 0};
  EXPECT_EQ(run.After(100, {0, {}, 0}), (std::vector<uint64_t>{90, 0, 10}));
}

}  // namespace
}  // namespace tmem
