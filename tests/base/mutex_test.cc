#include "base/mutex.h"

#include <gtest/gtest.h>

#include <array>
#include <thread>

namespace tmem {
namespace {

TEST(Mutex, TakesLocksOfRisingRank) {
  Mutex control(LockRank::kControl);
  Mutex partition(LockRank::kPartition);
  Mutex leaf(LockRank::kLeaf);
  for (int i = 0; i < 2; ++i) {
    MutexLock outer(control);
    MutexLock middle(partition);
    MutexLock inner(leaf);
  }
  // What was let go no longer binds: a lower rank may follow a higher one.
  {
    MutexLock lock(leaf);
  }
  {
    MutexLock lock(control);
  }
}

TEST(Mutex, RanksBindEachThreadAlone) {
  Mutex leaf(LockRank::kLeaf);
  Mutex control(LockRank::kControl);
  MutexLock lock(leaf);
  std::thread other([&] { MutexLock other_lock(control); });
  other.join();
}

TEST(Mutex, TryLockNeitherWaitsNorMindsRanks) {
  Mutex leaf(LockRank::kLeaf);
  Mutex control(LockRank::kControl);
  MutexLock lock(leaf);
  ASSERT_TRUE(control.try_lock());
  std::thread other([&] { EXPECT_FALSE(control.try_lock()); });
  other.join();
  control.unlock();
  std::thread another([&] {
    ASSERT_TRUE(control.try_lock());
    control.unlock();
  });
  another.join();
}

TEST(Mutex, ExcludesOtherThreads) {
  Mutex mutex(LockRank::kLeaf);
  int counter = 0;
  std::array<std::thread, 4> threads;
  for (auto& thread : threads) {
    thread = std::thread([&] {
      for (int i = 0; i < 10'000; ++i) {
        MutexLock lock(mutex);
        ++counter;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(counter, 40'000);
}

#ifndef NDEBUG  // release builds do not check ranks

class MutexDeathTest : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

void TakeBoth(LockRank first, LockRank second) {
  Mutex outer(first);
  Mutex inner(second);
  MutexLock outer_lock(outer);
  MutexLock inner_lock(inner);
}

TEST_F(MutexDeathTest, FallingRankAborts) {
  EXPECT_DEATH(TakeBoth(LockRank::kArena, LockRank::kPartition), "lock rank breach");
}

TEST_F(MutexDeathTest, EqualRankAborts) {
  EXPECT_DEATH(TakeBoth(LockRank::kPartition, LockRank::kPartition), "lock rank breach");
}

TEST_F(MutexDeathTest, ALowerRankBetweenTwoHeldOnesAborts) {
  EXPECT_DEATH(
      {
        Mutex control(LockRank::kControl);
        MutexLock lock(control);
        TakeBoth(LockRank::kLeaf, LockRank::kHeap);
      },
      "lock rank breach");
}

#endif

}  // namespace
}  // namespace tmem
