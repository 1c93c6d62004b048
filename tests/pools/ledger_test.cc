#include "pools/ledger.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <thread>
#include <utility>
#include <vector>

namespace tmem {
namespace {

TEST(Ledger, ChargesUpToTheCapExactly) {
  Ledger ledger{Bytes(100)};
  EXPECT_TRUE(ledger.TryCharge(Bytes(60)));
  EXPECT_FALSE(ledger.TryCharge(Bytes(41)));
  EXPECT_EQ(ledger.charged(), Bytes(60)) << "a refused charge leaves nothing";
  EXPECT_TRUE(ledger.TryCharge(Bytes(40)));
  EXPECT_FALSE(ledger.TryCharge(Bytes(1)));
  ledger.Release(Bytes(100));
  EXPECT_EQ(ledger.charged(), Bytes(0));
}

TEST(Ledger, LoweringTheCapRefusesUntilEnoughIsReleased) {
  Ledger ledger{Bytes(100)};
  ASSERT_TRUE(ledger.TryCharge(Bytes(80)));
  ledger.SetCap(Bytes(50));
  EXPECT_EQ(ledger.charged(), Bytes(80));
  EXPECT_FALSE(ledger.TryCharge(Bytes(1)));
  ledger.Release(Bytes(31));
  EXPECT_TRUE(ledger.TryCharge(Bytes(1)));
  EXPECT_FALSE(ledger.TryCharge(Bytes(1)));
}

TEST(Ledger, NoSumOverflows) {
  Ledger ledger{kUnlimited};
  EXPECT_TRUE(ledger.TryCharge(Bytes(UINT64_MAX - 1)));
  EXPECT_FALSE(ledger.TryCharge(Bytes(2)));
  EXPECT_TRUE(ledger.TryCharge(Bytes(1)));
  EXPECT_FALSE(ledger.TryCharge(Bytes(UINT64_MAX)));
  ledger.SetCap(Bytes(0));
  EXPECT_FALSE(ledger.TryCharge(Bytes(1)));
  EXPECT_FALSE(ledger.TryCharge(Bytes(UINT64_MAX)));
}

TEST(Charge, IsReleasedUnlessKept) {
  Ledger ledger{Bytes(100)};
  {
    Charge charge = Charge::Take(ledger, Bytes(30));
    ASSERT_TRUE(charge);
    EXPECT_EQ(&charge.ledger(), &ledger);
    EXPECT_EQ(charge.amount(), Bytes(30));
    Charge moved = std::move(charge);
    EXPECT_FALSE(charge);
    EXPECT_TRUE(moved);
    EXPECT_EQ(ledger.charged(), Bytes(30));
  }
  EXPECT_EQ(ledger.charged(), Bytes(0));
  {
    Charge charge = Charge::Take(ledger, Bytes(30));
    charge.Keep();
  }
  EXPECT_EQ(ledger.charged(), Bytes(30));
  EXPECT_FALSE(Charge::Take(ledger, Bytes(71)));
}

TEST(Charge, AssignmentReleasesWhatItHeld) {
  Ledger ledger{Bytes(100)};
  Charge charge = Charge::Take(ledger, Bytes(30));
  charge = Charge::Take(ledger, Bytes(20));
  EXPECT_EQ(charge.amount(), Bytes(20));
  EXPECT_EQ(ledger.charged(), Bytes(20));
}

RC_GTEST_PROP(Ledger, NeverExceedsItsCap, ()) {
  const auto cap = *rc::gen::inRange<uint64_t>(0, 1000);
  Ledger ledger{Bytes(cap)};
  uint64_t model = 0;
  std::vector<uint64_t> taken;
  for (const uint64_t amount :
       *rc::gen::container<std::vector<uint64_t>>(rc::gen::inRange<uint64_t>(0, 400))) {
    if (amount % 3 == 0 && !taken.empty()) {
      ledger.Release(Bytes(taken.back()));
      model -= taken.back();
      taken.pop_back();
    } else {
      const bool fits = model + amount <= cap;
      RC_ASSERT(ledger.TryCharge(Bytes(amount)) == fits);
      if (fits) taken.push_back(amount);
      if (fits) model += amount;
    }
    RC_ASSERT(ledger.charged() == Bytes(model));
  }
}

TEST(Ledger, IsExactAmongThreads) {
  constexpr int kRounds = 20'000;
  const uint64_t kCap = 1000;
  Ledger ledger{Bytes(kCap)};
  const auto work = [&ledger, kCap](uint64_t amount) {
    uint64_t most = 0;
    for (int i = 0; i < kRounds; ++i) {
      const Charge first = Charge::Take(ledger, Bytes(amount));
      const Charge second = Charge::Take(ledger, Bytes(amount / 2));
      most = std::max(most, ledger.charged().value);
    }
    EXPECT_LE(most, kCap);
  };
  std::vector<std::jthread> threads;
  for (const uint64_t amount : {300, 400, 500, 600}) threads.emplace_back(work, amount);
  threads.clear();
  EXPECT_EQ(ledger.charged(), Bytes(0));
}

}  // namespace
}  // namespace tmem
