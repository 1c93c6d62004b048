// What shares promise, a property each, on generated guests and histories under every policy. The
// last lines tell how much was tried of each. TMEM_PROPERTY_RUNS is how many histories there are of
// a property (100, if not set); all properties of the program follow it.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pools/memory.h"
#include "pools/store_fixture.h"

namespace tmem {
namespace {

using std::chrono::seconds;
using enum PageClass;

constexpr uint32_t kMaxSegments = 64;

PolicySettings AnyPolicy() {
  return {.kind = static_cast<PolicyKind>(*rc::gen::inRange<size_t>(0, kPolicyNames.size())),
          .surrender_percent = *rc::gen::element(0u, 50u, 100u, 300u)};
}

class Citizen;

// A host with guests, one of whom takes a segment at a time.
struct Host {
  explicit Host(uint32_t capacity_, const PolicySettings& policy)
      : capacity(capacity_), memory(*arena, capacity_, policy) {}

  uint32_t capacity;
  std::unique_ptr<Arena> arena = std::move(*Arena::Create(kMaxSegments));
  Memory memory;
  std::vector<std::shared_ptr<Citizen>> guests;
  const Citizen* taker = nullptr;
  bool policy_divides = true;  // all but greedy
};

class Citizen final : public Evictable {
 public:
  Citizen(Host& host, const Terms& terms)
      : host_(host), terms_(terms), stake_(host.memory.Join(terms)) {}
  ~Citizen() override { host_.memory.Leave(stake_); }

  static void Join(Host& host, const Terms& terms) {
    host.guests.push_back(std::make_shared<Citizen>(host, terms));
    host.memory.SetEvictable(host.guests.back()->stake_, host.guests.back());
  }
  bool Take(PageClass page_class) {
    host_.taker = this;
    const SegmentId segment = host_.memory.Take(stake_, page_class);
    host_.taker = nullptr;
    if (segment == kNoSegment) return false;
    held_[static_cast<size_t>(page_class)].push_back(segment);
    return true;
  }
  bool GiveBack(PageClass page_class) {
    auto& held = held_[static_cast<size_t>(page_class)];
    if (held.empty()) return false;
    host_.memory.GiveBack(stake_, page_class, held.front());
    held.erase(held.begin());
    return true;
  }
  void GiveBackAll() {
    for (const auto page_class : {kEphemeral, kPersistent}) {
      while (GiveBack(page_class)) {
      }
    }
  }
  bool EvictOldestSegment() override {
    CheckThatNobodyElseShould();
    ++evicted;
    return GiveBack(kEphemeral);
  }
  std::optional<double> TakeSaved() override { return std::exchange(saved, std::nullopt); }

  void Change(const Terms& terms) { host_.memory.Change(stake_, terms_ = terms); }
  const Terms& terms() const { return terms_; }
  uint32_t Count(PageClass page_class) const {
    return static_cast<uint32_t>(held_[static_cast<size_t>(page_class)].size());
  }
  uint32_t Count() const { return Count(kEphemeral) + Count(kPersistent); }
  Memory::Standing Standing() const { return host_.memory.StandingOf(stake_); }
  uint64_t Entitled() const {
    const Memory::Standing standing = Standing();
    return std::min<uint64_t>(
        {standing.allotment.persistent(), standing.allotment.total, standing.claim.terms.cap});
  }
  Memory::StakeId stake() const { return stake_; }

  std::optional<double> saved;  // what one segment more would have saved
  uint64_t evicted = 0;

 private:
  // Never one under its weighted share while another is above; only its own may one lose to itself.
  void CheckThatNobodyElseShould() const {
    if (!host_.policy_divides || host_.taker == this) return;
    unsigned __int128 weights = 0;
    unsigned __int128 memory = 0;
    const auto of = [](const Citizen& guest) {
      return std::pair<uint64_t, uint64_t>(guest.Count(kEphemeral),
                                           guest.Standing().allotment.ephemeral_weight);
    };
    for (const auto& guest : host_.guests) {
      const auto [held, weight] = of(*guest);
      memory += held;
      if (held > 0) weights += weight;
    }
    const auto [held, weight] = of(*this);
    if (held * weights >= memory * weight) return;
    for (const auto& guest : host_.guests) {
      const auto [other_held, other_weight] = of(*guest);
      RC_ASSERT(other_held * weights <= memory * other_weight);
    }
  }

  Host& host_;
  Terms terms_;
  const Memory::StakeId stake_;
  std::array<std::vector<SegmentId>, kPageClasses> held_;
};

// What was tried.
struct Counts {
  unsigned long long histories = 0;
  unsigned long long granted = 0;
  unsigned long long refused = 0;
  unsigned long long evicted = 0;
  unsigned long long shrinks = 0;
};

class FairnessTest : public testing::Test {
 protected:
  static void Note(const Host& host) {
    ++Tried().histories;
    for (const auto& guest : host.guests) Tried().evicted += guest->evicted;
  }
  static bool Take(Citizen& guest, PageClass page_class) { return Note(guest.Take(page_class)); }
  static bool Note(bool granted) {
    ++(granted ? Tried().granted : Tried().refused);
    return granted;
  }
  // Of the property that runs.
  static Counts& Tried() {
    return counts_[testing::UnitTest::GetInstance()->current_test_info()->name()];
  }

  // Guests with reserves that fit the capacity.
  static std::unique_ptr<Host> AnyHost(const PolicySettings& policy) {
    auto host = std::make_unique<Host>(*rc::gen::inRange(8u, 41u), policy);
    host->policy_divides = policy.kind != PolicyKind::kGreedy;
    const auto count = *rc::gen::inRange(1u, 6u);
    for (uint32_t i = 0; i < count; ++i) Citizen::Join(*host, AnyTerms(host->capacity / count));
    return host;
  }
  static Terms AnyTerms(uint32_t reserve_below) {
    Terms terms{.weight = *rc::gen::element(1u, 2u, 3u, 10u, 100u),
                .reserve = *rc::gen::inRange(0u, reserve_below + 1),
                .surrendered = *rc::gen::inRange(0u, 20u)};
    const auto room = *rc::gen::inRange(0u, 30u);
    if (room > 0) terms.cap = terms.reserve + room;
    return terms;
  }

  // Guests that want so much each and use it up, again and again. How far any entitlement goes up
  // and down once they had time to come to rest.
  static uint64_t SwingOf(Host& host, const std::vector<uint32_t>& wanted) {
    const auto live_a_second = [&] {
      for (size_t i = 0; i < host.guests.size(); ++i) {
        Citizen& guest = *host.guests[i];
        guest.GiveBack(kPersistent);
        while (guest.Count(kPersistent) < wanted[i] && Take(guest, kPersistent)) {
        }
        // The more of what it wants a guest has, the less it would save with one segment more.
        guest.saved = 1000.0 * (wanted[i] - guest.Count(kPersistent)) / (wanted[i] + 1);
      }
      host.memory.Tick(seconds(1));
    };
    for (int i = 0; i < 400; ++i) live_a_second();
    std::vector<std::pair<uint64_t, uint64_t>> range(host.guests.size(), {UINT64_MAX, 0});
    for (int i = 0; i < 60; ++i) {
      live_a_second();
      for (size_t g = 0; g < range.size(); ++g) {
        const uint64_t entitled = host.guests[g]->Entitled();
        range[g] = {std::min(range[g].first, entitled), std::max(range[g].second, entitled)};
      }
    }
    Note(host);
    for (const auto& guest : host.guests) guest->GiveBackAll();
    uint64_t swing = 0;
    for (const auto& [lowest, highest] : range) swing = std::max(swing, highest - lowest);
    return swing;
  }

  static inline std::map<std::string, Counts> counts_;
  friend class Report;
};

// The last lines.
class Report final : public testing::Environment {
 public:
  void SetUp() override {
    // rapidcheck reads its own variable before the first property.
    if (const char* const runs = std::getenv("TMEM_PROPERTY_RUNS")) {
      setenv("RC_PARAMS", ("max_success=" + std::string(runs)).c_str(), /*overwrite=*/0);
    }
  }
  void TearDown() override {
    for (const auto& [property, counts] : FairnessTest::counts_) {
      std::printf(
          "%s: %llu histories, %llu granted, %llu refused, %llu evicted, %llu told to shrink\n",
          property.c_str(), counts.histories, counts.granted, counts.refused, counts.evicted,
          counts.shrinks);
    }
  }
};
testing::Environment* const kReport = testing::AddGlobalTestEnvironment(new Report);

// ---- at every step ----

// Capacity and caps hold exactly, persistent segments stay with their guest whatever others do, and
// a reserve is there at once. (That nobody under its share is a victim, guests check when they
// are.)
RC_GTEST_FIXTURE_PROP(FairnessTest, CapacityCapsReservesAndPersistentPagesHoldAtEveryStep, ()) {
  const auto host = AnyHost(AnyPolicy());
  Memory& memory = host->memory;
  for (const uint32_t step :
       *rc::gen::container<std::vector<uint32_t>>(300, rc::gen::arbitrary<uint32_t>())) {
    Citizen& guest = *host->guests[step / 64 % host->guests.size()];
    const PageClass page_class = step / 1024 % 2 == 0 ? kEphemeral : kPersistent;
    const uint32_t argument = step / 2048;
    std::vector<uint32_t> persistent;
    for (const auto& one : host->guests) persistent.push_back(one->Count(kPersistent));
    const size_t self = step / 64 % host->guests.size();
    const uint32_t held = guest.Count();

    switch (step % 64) {
      case 0:
        memory.Tick(seconds(1));
        break;
      case 1:
        memory.SetSurrendered(guest.stake(), argument % 30);
        break;
      case 2: {
        Terms terms = guest.terms();
        terms.weight = 1 + argument % 50;
        guest.Change(terms);
        break;
      }
      case 3:
        guest.saved = argument % 1000;
        break;
      case 4:
      case 5:
      case 6:
      case 7:
      case 8:
      case 9:
        if (guest.GiveBack(page_class) && page_class == kPersistent) --persistent[self];
        break;
      default: {
        const bool due =
            page_class == kPersistent && guest.Count(kPersistent) < guest.terms().reserve;
        const bool granted = Take(guest, page_class);
        if (due) RC_ASSERT(granted);
        if (granted && page_class == kPersistent) ++persistent[self];
        if (granted && !due) RC_ASSERT(guest.Count() <= std::max(held, guest.terms().cap));
      }
    }
    uint32_t in_use = 0;
    for (size_t i = 0; i < host->guests.size(); ++i) {
      RC_ASSERT(host->guests[i]->Count(kPersistent) == persistent[i]);
      in_use += host->guests[i]->Count();
    }
    RC_ASSERT(in_use <= host->capacity);
  }
  Note(*host);
  for (const auto& guest : host->guests) guest->GiveBackAll();
}

RC_GTEST_FIXTURE_PROP(FairnessTest, RemovingAGuestGivesEverythingBack, ()) {
  const PolicySettings policy = AnyPolicy();
  const auto host = AnyHost(policy);
  const auto entitled = [&] {
    std::vector<uint64_t> all;
    for (const auto& guest : host->guests) all.push_back(guest->Entitled());
    return all;
  };
  const auto before = entitled();
  const Memory::Usage usage = host->memory.usage();

  Citizen::Join(*host, AnyTerms(host->capacity));
  Citizen& visitor = *host->guests.back();
  for (int i = 0; i < 50; ++i) Take(visitor, i % 3 == 0 ? kEphemeral : kPersistent);
  if (*rc::gen::arbitrary<bool>()) host->memory.Tick(seconds(1));
  visitor.GiveBackAll();
  Note(*host);
  host->guests.pop_back();

  RC_ASSERT(host->memory.usage().in_use == usage.in_use);
  // What a policy learned while the guest was there it has to learn again.
  for (int i = 0; i < 200; ++i) host->memory.Tick(seconds(1));
  const auto after = entitled();
  for (size_t i = 0; i < before.size(); ++i) {
    const bool learns =
        policy.kind == PolicyKind::kSmartAlloc || policy.kind == PolicyKind::kUtility;
    if (!learns) RC_ASSERT(after[i] == before[i]);
    RC_ASSERT(after[i] >= host->guests[i]->terms().reserve);
  }
}

// ---- over time ----

RC_GTEST_FIXTURE_PROP(FairnessTest, PoliciesConvergeAndDoNotOscillate, ()) {
  const auto host = AnyHost(AnyPolicy());
  std::vector<uint32_t> wanted;
  for (size_t i = 0; i < host->guests.size(); ++i) {
    wanted.push_back(*rc::gen::inRange(0u, 2 * host->capacity));
  }
  RC_ASSERT(SwingOf(*host, wanted) <= 3);
}

// Histories that swung for good: by 9, and by 10 segments.
TEST_F(FairnessTest, UtilityTookMoreThanItCouldUseAndGaveTooMuchBack) {
  Host heavy(26, {.kind = PolicyKind::kUtility});
  Citizen::Join(heavy, {.weight = 3, .reserve = 4, .cap = 19});
  Citizen::Join(heavy, {.weight = 1, .reserve = 8, .cap = 31});
  Citizen::Join(heavy, {.weight = 100, .reserve = 6, .cap = 24});
  EXPECT_LE(SwingOf(heavy, {29, 14, 13}), 2);
}

TEST_F(FairnessTest, SmartAllocAskedForWhatOthersHadYetToFlush) {
  Host host(40, {.kind = PolicyKind::kSmartAlloc});
  Citizen::Join(host, {.weight = 10, .reserve = 8, .cap = 34});
  Citizen::Join(host, {.weight = 2, .reserve = 6, .cap = 24});
  Citizen::Join(host, {.weight = 2, .reserve = 10, .cap = 33});
  Citizen::Join(host, {.weight = 1, .reserve = 6, .cap = 32});
  EXPECT_LE(SwingOf(host, {9, 66, 5, 34}), 2);
}

// Who holds too much is refused for the sake of somebody: because a reserve lacks its room, or one
// that wants more lacks some that it is entitled to. And not for longer than it does.
RC_GTEST_FIXTURE_PROP(FairnessTest, NobodyShrinksUnlessAnotherNeedsTheRoom, ()) {
  const auto host = AnyHost(AnyPolicy());
  Memory& memory = host->memory;
  const auto missing_to_others = [&](const Citizen& self) {
    uint64_t reserves = 0;
    uint64_t wanted = 0;
    for (const auto& guest : host->guests) {
      if (guest.get() == &self) continue;
      const uint64_t held = guest->Count(kPersistent);
      const uint64_t reserve = guest->terms().reserve;
      const uint64_t reserve_left = reserve - std::min(reserve, held);
      const uint64_t due = guest->Standing().claim.wants_more ? guest->Entitled() : 0;
      reserves += reserve_left;
      wanted += std::max(reserve_left, due - std::min(due, held));
    }
    return std::pair(reserves, wanted);
  };
  const auto not_persistent = [&] {
    uint32_t persistent = 0;
    for (const auto& guest : host->guests) persistent += guest->Count(kPersistent);
    return host->capacity - persistent;
  };
  for (const uint32_t step :
       *rc::gen::container<std::vector<uint32_t>>(150, rc::gen::arbitrary<uint32_t>())) {
    Citizen& guest = *host->guests[step / 64 % host->guests.size()];
    const uint32_t argument = step / 2048;
    switch (step % 16) {
      case 0:
        memory.Tick(seconds(1));
        break;
      case 1: {
        Terms terms = guest.terms();
        terms.weight = 1 + argument % 50;
        guest.Change(terms);
        break;
      }
      case 2:
        memory.SetSurrendered(guest.stake(), argument % 30);
        break;
      case 3:
      case 4:
      case 5:
        guest.GiveBack(kPersistent);
        break;
      default:
        Take(guest, argument % 8 == 0 ? kEphemeral : kPersistent);
    }
    for (const auto& one : host->guests) {
      const bool must_shrink = memory.MustShrink(one->stake());
      Tried().shrinks += must_shrink;
      if (must_shrink) {
        RC_ASSERT(one->Count(kPersistent) > one->Entitled());
        RC_ASSERT(missing_to_others(*one).second > not_persistent());
        RC_ASSERT(memory.crowded() && memory.ShrinkFlag(one->stake())->load());
      }
    }
  }
  // All have given up, and make do with the slots that they have.
  for (uint32_t i = 0; i < Memory::kPatience; ++i) memory.Tick(seconds(1));
  for (const auto& one : host->guests) {
    if (missing_to_others(*one).first <= not_persistent())
      RC_ASSERT(!memory.MustShrink(one->stake()));
  }
  Note(*host);
  for (const auto& guest : host->guests) guest->GiveBackAll();
}

// Two alike but for their weights, who want all there is: the heavier is entitled to no less at any
// time.
RC_GTEST_FIXTURE_PROP(FairnessTest, MoreWeightNeverYieldsLess, ()) {
  PolicySettings policy = AnyPolicy();
  RC_PRE(policy.kind != PolicyKind::kGreedy);  // who comes first has all
  Host host(40, policy);
  const auto weight = *rc::gen::inRange(1u, 100u);
  Citizen::Join(host, {.weight = weight});
  Citizen::Join(host, {.weight = weight + *rc::gen::inRange(0u, 100u)});
  for (uint32_t i = *rc::gen::inRange(0u, 4u); i > 0; --i) Citizen::Join(host, AnyTerms(10));
  for (int second = 0; second < 50; ++second) {
    for (const auto& guest : host.guests) {
      while (Take(*guest, kPersistent)) {
      }
      guest->saved = 100;
    }
    host.memory.Tick(seconds(1));
    // But for the one segment that division leaves over, among those who weigh as much.
    RC_ASSERT(host.guests[1]->Entitled() + 1 >= host.guests[0]->Entitled());
    // What one took while nobody else wanted it stays until it goes by itself.
    for (const auto& guest : host.guests) guest->GiveBack(kPersistent);
  }
  Note(host);
  for (const auto& guest : host.guests) guest->GiveBackAll();
}

// ---- what does not help ----

// A store in which two guests alike put by turns until both are refused; what each holds then.
class Rivals {
 public:
  explicit Rivals(const PolicySettings& policy)
      : store_(std::move(*Store::Create({.capacity = Segments(4), .policy = policy}))) {
    GuestSettings settings;
    settings.compress[0] = settings.compress[1] = CompressMode::kFast;
    for (uint16_t i = 0; i < 2; ++i) guests_[i] = *store_->AddGuest(GuestId{i}, settings);
  }
  PoolId NewPool(size_t guest) {
    return *store_->NewPool(*guests_[guest], {.page_class = kPersistent});
  }
  bool Put(size_t guest, PoolId pool, PageLook look) {
    const auto index = next_++;
    return store_->Put(*guests_[guest],
                       {.pool = pool, .object = MakeObjectId(index % 7), .index = PageIndex{index}},
                       MakePage(look, index), codec_) == PutStatus::kStored;
  }
  GuestStats StatsOf(uint16_t guest) { return *store_->StatsOf(GuestId{guest}); }

 private:
  PageCodec codec_{PageCodec::Config{}};
  std::unique_ptr<Store> store_;
  std::array<std::shared_ptr<Guest>, 2> guests_;
  uint32_t next_ = 0;
};

PolicySettings AnyPolicyThatDivides() {
  PolicySettings policy = AnyPolicy();
  RC_PRE(policy.kind != PolicyKind::kGreedy && policy.kind != PolicyKind::kSurrender);
  return policy;
}

RC_GTEST_FIXTURE_PROP(FairnessTest, NobodyGainsBySplittingPools, ()) {
  Rivals rivals(AnyPolicyThatDivides());
  std::vector<PoolId> pools;
  for (uint32_t i = *rc::gen::inRange(2u, kMaxPoolsPerGuest + 1); i > 0; --i) {
    pools.push_back(rivals.NewPool(0));
  }
  const PoolId honest = rivals.NewPool(1);
  for (uint32_t i = 0; i < RawPages(5); ++i) {
    Note(rivals.Put(0, pools[i % pools.size()], PageLook::kRandom));
    Note(rivals.Put(1, honest, PageLook::kRandom));
  }
  const GuestStats split = rivals.StatsOf(0);
  const GuestStats whole = rivals.StatsOf(1);
  ++Tried().histories;
  RC_ASSERT(split.segments[1] <= whole.segments[1]);
  RC_ASSERT(split.stored[1].pages <= whole.stored[1].pages);
}

// All bytes are charged as stored: garbage fills a share with fewer pages, and costs others
// nothing.
RC_GTEST_FIXTURE_PROP(FairnessTest, NobodyGainsByPuttingGarbage, ()) {
  Rivals rivals(AnyPolicyThatDivides());
  const PoolId garbage = rivals.NewPool(0);
  const PoolId text = rivals.NewPool(1);
  const auto garbage_a_turn = *rc::gen::inRange(1u, 4u);
  for (uint32_t i = 0; i < RawPages(12); ++i) {
    for (uint32_t turn = 0; turn < garbage_a_turn; ++turn) {
      Note(rivals.Put(0, garbage, PageLook::kRandom));
    }
    Note(rivals.Put(1, text, PageLook::kText));
  }
  const GuestStats liar = rivals.StatsOf(0);
  const GuestStats honest = rivals.StatsOf(1);
  ++Tried().histories;
  RC_ASSERT(liar.segments[1] <= Segments(2));
  RC_ASSERT(honest.segments[1] >= Segments(1));
  RC_ASSERT(liar.stored[1].pages < honest.stored[1].pages);
}

// To ask for more than one needs, and to be refused again and again, takes nothing from who wants
// its part as well.
RC_GTEST_FIXTURE_PROP(FairnessTest, NobodyGainsByAskingInVain, ()) {
  Host host(40, AnyPolicyThatDivides());
  for (int i = 0; i < 2; ++i) Citizen::Join(host, {});
  const auto vain = *rc::gen::inRange(0u, 200u);
  for (int second = 0; second < 30; ++second) {
    while (Take(*host.guests[1], kPersistent)) {
    }
    for (uint32_t i = 0; i < vain; ++i) Take(*host.guests[0], kPersistent);
    host.memory.Tick(seconds(1));
    RC_ASSERT(host.guests[1]->Entitled() >= 20u);
  }
  RC_ASSERT(host.guests[1]->Count(kPersistent) >= 19u);
  Note(host);
  for (const auto& guest : host.guests) guest->GiveBackAll();
}

}  // namespace
}  // namespace tmem
