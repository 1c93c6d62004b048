#include "run/backing.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "run/engine.h"

namespace tmem::run {
namespace {

std::vector<std::byte> PagesOf(std::initializer_list<int> values) {
  std::vector<std::byte> bytes;
  for (const int value : values)
    bytes.insert(bytes.end(), kPageSize, static_cast<std::byte>(value));
  return bytes;
}

class BackingTest : public ::testing::Test {
 protected:
  Backing Make(Spill spill) {
    return Backing(connection_.client(), connection_.pool(),
                   spill == Spill::kFile ? TestSpillFile() : std::nullopt, counters_);
  }

  FakeConnection connection_;
  Counters counters_;
  std::array<Copy, Backing::kMaxRun> copies_;
};

TEST_F(BackingTest, StoresInThePoolAndLoadsAgain) {
  Backing backing = Make(Spill::kNone);
  EXPECT_EQ(backing.Store({7, 2}, PagesOf({1, 2}).data(), copies_), 3u);
  EXPECT_EQ(copies_[0].kind, CopyKind::kPool);
  std::vector<std::byte> read(2 * kPageSize);
  EXPECT_EQ(backing.Load({7, 2}, copies_, read.data()), 3u);
  EXPECT_EQ(read, PagesOf({1, 2}));
  EXPECT_EQ(counters_.puts, 2u);
  EXPECT_EQ(counters_.gets_found, 2u);
}

TEST_F(BackingTest, SpillsWhatThePoolRefuses) {
  Backing backing = Make(Spill::kFile);
  FakeTmem::RefusePuts(1);
  EXPECT_EQ(backing.Store({7, 2}, PagesOf({1, 2}).data(), copies_), 3u);
  EXPECT_EQ(copies_[1].kind, CopyKind::kSpill);
  EXPECT_EQ(counters_.puts_refused, 2u);
  EXPECT_EQ(counters_.spilled, 2u);
  std::vector<std::byte> read(2 * kPageSize);
  EXPECT_EQ(backing.Load({7, 2}, copies_, read.data()), 3u);
  EXPECT_EQ(read, PagesOf({1, 2}));
}

TEST_F(BackingTest, TellsWhatItCouldNotStore) {
  Backing backing = Make(Spill::kNone);
  FakeTmem::RefusePuts(1);
  EXPECT_EQ(backing.Store({7, 2}, PagesOf({1, 2}).data(), copies_), 0u);
  EXPECT_EQ(copies_[0].kind, CopyKind::kNone);
}

TEST_F(BackingTest, RemovesForgottenPages) {
  Backing backing = Make(Spill::kNone);
  backing.Store({7, 3}, PagesOf({1, 2, 3}).data(), copies_);
  backing.Forget(8, copies_[1]);
  EXPECT_EQ(FakeTmem::pages(), 2u);
  backing.Forget({7, 1}, copies_);
  EXPECT_EQ(FakeTmem::pages(), 1u);
  EXPECT_EQ(counters_.flushes, 2u);
}

TEST_F(BackingTest, KeepsFrozenCopiesUntilThaw) {
  Backing backing = Make(Spill::kNone);
  backing.Store({7, 1}, PagesOf({1}).data(), copies_);
  const Copy old = copies_[0];
  backing.Freeze();
  EXPECT_FALSE(backing.IsReplacedByStore(old));
  backing.Store({7, 1}, PagesOf({2}).data(), copies_);
  EXPECT_TRUE(backing.IsReplacedByStore(copies_[0]));
  backing.Forget(7, old);
  std::vector<std::byte> read(kPageSize);
  EXPECT_EQ(backing.Load({7, 1}, {&old, 1}, read.data()), 1u);
  EXPECT_EQ(read, PagesOf({1})) << "a child still sees the page as it was";
  backing.Forget(7, copies_[0]);
  EXPECT_EQ(FakeTmem::pages(), 1u) << "what came after the fork is no child's";
  backing.Thaw();
  EXPECT_EQ(FakeTmem::pages(), 0u);
}

TEST_F(BackingTest, KeepsFrozenSpillSlotsUntilThaw) {
  Backing backing = Make(Spill::kFile);
  FakeTmem::RefusePuts(1);
  backing.Store({7, 1}, PagesOf({1}).data(), copies_);
  const Copy old = copies_[0];
  backing.Freeze();
  backing.Forget(7, old);
  backing.Store({7, 1}, PagesOf({2}).data(), copies_);
  EXPECT_NE(copies_[0], old) << "the slot is not used again while a child may read it";
  std::vector<std::byte> read(kPageSize);
  EXPECT_EQ(backing.Load({7, 1}, {&old, 1}, read.data()), 1u);
  EXPECT_EQ(read, PagesOf({1}));
  backing.Thaw();
  backing.Store({8, 1}, PagesOf({3}).data(), copies_);
  EXPECT_EQ(copies_[0], old);
}

}  // namespace
}  // namespace tmem::run
