#include "sim/guest.h"

#include <gtest/gtest.h>

namespace tmem::sim {
namespace {

constexpr CostModel kCost{.access = 1,
                          .first_touch = 10,
                          .put = 100,
                          .refused_put = 1'000,
                          .get = 10'000,
                          .missed_get = 100'000,
                          .disk_read = 1'000'000,
                          .disk_write = 10'000'000};

// Scans four pages over and over, with room for two.
GuestSpec Scanner(MemoryKind memory, uint64_t accesses) {
  return {
      .name = "scanner",
      .workload = {.kind = WorkloadKind::kScan, .memory = memory, .pages = 4, .accesses = accesses},
      .resident = 2};
}

class GuestTest : public testing::Test {
 protected:
  Guest Make(const GuestSpec& spec) { return Guest(*store_, codec_, kCost, spec, GuestId{1}, 1); }

  PageCodec codec_{PageCodec::Config{}};
  std::unique_ptr<Store> store_ = std::move(*Store::Create({.capacity = MiB(8)}));
};

TEST_F(GuestTest, AnonymousPagesGoToTheStoreAndComeBack) {
  Guest guest = Make(Scanner(MemoryKind::kAnonymous, 8));
  EXPECT_FALSE(guest.present());
  guest.Run(1);
  EXPECT_TRUE(guest.present());
  guest.Run(UINT64_MAX);
  EXPECT_TRUE(guest.done());
  EXPECT_FALSE(guest.present());
  EXPECT_TRUE(store_->Guests().empty()) << "what is done has left";
  // The first round brings four pages in and two out, the second four each.
  EXPECT_EQ(guest.run().puts, 6u);
  EXPECT_EQ(guest.run().gets, 4u);
  EXPECT_EQ(guest.run().ideal, 8u * 1 + 4 * 10);
  EXPECT_EQ(guest.run().elapsed, 8u * 1 + 4 * 10 + 6 * 100 + 4 * 10'000);
  EXPECT_DOUBLE_EQ(guest.run().slowdown(), 40'648 / 48.0);
}

TEST_F(GuestTest, WhatTheStoreRefusesGoesToDisk) {
  GuestSpec spec = Scanner(MemoryKind::kAnonymous, 8);
  spec.settings.frozen = true;
  Guest guest = Make(spec);
  guest.Run(UINT64_MAX);
  EXPECT_EQ(guest.run().refused, 6u);
  EXPECT_EQ(guest.run().disk_writes, 6u);
  EXPECT_EQ(guest.run().disk_reads, 4u);
  EXPECT_EQ(guest.run().elapsed,
            8u * 1 + 4 * 10 + 6 * (1'000 + 10'000'000) + uint64_t{4} * 1'000'000);
}

TEST_F(GuestTest, FilesAreReadFromDiskOnceAndThenFromTheStore) {
  Guest guest = Make(Scanner(MemoryKind::kFile, 8));
  guest.Run(UINT64_MAX);
  EXPECT_EQ(guest.run().disk_reads, 4u);
  EXPECT_EQ(guest.run().gets, 4u);
  EXPECT_EQ(guest.run().disk_writes, 0u);
  EXPECT_EQ(guest.run().ideal, 8u * 1 + uint64_t{4} * 1'000'000);
}

TEST_F(GuestTest, FilesOfWhichNothingIsKeptAreReadFromDisk) {
  GuestSpec spec = Scanner(MemoryKind::kFile, 8);
  spec.settings.frozen = true;
  Guest guest = Make(spec);
  guest.Run(UINT64_MAX);
  EXPECT_EQ(guest.run().disk_reads, 8u);
  EXPECT_EQ(guest.run().disk_writes, 0u);
}

TEST_F(GuestTest, TimeBetweenAccessesIsNoWork) {
  GuestSpec spec = Scanner(MemoryKind::kAnonymous, 8);
  spec.think = 1;
  Guest guest = Make(spec);
  guest.Run(UINT64_MAX);
  EXPECT_GT(guest.now(), Nanoseconds{8'000'000'000});
  EXPECT_LT(guest.run().elapsed, Nanoseconds{1'000'000'000});
}

TEST_F(GuestTest, PagesAreStoredAsSmallAsItIsSaid) {
  GuestSpec spec = Scanner(MemoryKind::kAnonymous, 1000);
  spec.stored = 0.25;
  Guest guest = Make(spec);
  guest.Run(100'000);
  ASSERT_TRUE(guest.present());
  const StoredCounters stored = store_->StatsOf(GuestId{1})->stored[1];
  ASSERT_GT(stored.pages, 0u);
  EXPECT_NEAR(static_cast<double>(stored.payload_bytes) / static_cast<double>(stored.pages), 1024,
              100);
  EXPECT_EQ(guest.Held(), MiB(1));
}

}  // namespace
}  // namespace tmem::sim
