#include "pools/ghosts.h"

#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <vector>

#include "pools/arena.h"

namespace tmem {
namespace {

using enum PageClass;

constexpr Bytes kCharge(4096);
constexpr double kPagesPerSegment = kSegmentSize / 4096.0;

std::vector<uint64_t> Hashes(size_t count, uint64_t seed = 1) {
  std::mt19937_64 random(seed);
  std::vector<uint64_t> hashes(count);
  for (uint64_t& hash : hashes) hash = random();
  return hashes;
}

TEST(Ghosts, SaveNothingWhereNothingIsMissed) {
  Ghosts ghosts(kEphemeral, 1);
  EXPECT_EQ(ghosts.TakeSaved(), std::nullopt) << "nothing was lost";
  for (const uint64_t hash : Hashes(100)) ghosts.Lost(hash, kCharge);
  EXPECT_EQ(ghosts.TakeSaved(), 0);
  for (const uint64_t hash : Hashes(100, 2)) ghosts.Missed(hash);
  EXPECT_EQ(ghosts.TakeSaved(), std::nullopt);
}

// 100 pages were refused, and are put again twice: a segment more would have kept as many as it
// holds, and saved each of them twice.
TEST(Ghosts, OfPersistentPagesSaveAsOftenAsTheyAreAskedForAgain) {
  Ghosts ghosts(kPersistent, 1);
  const auto hashes = Hashes(100);
  for (int i = 0; i < 3; ++i) {
    for (const uint64_t hash : hashes) ghosts.Lost(hash, kCharge);
  }
  EXPECT_DOUBLE_EQ(*ghosts.TakeSaved(), 2 * kPagesPerSegment);
  EXPECT_EQ(ghosts.TakeSaved(), std::nullopt) << "taken";
}

// A guest that goes through its pages again and again has others of them refused each time: what
// was put before it is put again is stored now, and was read from disk nevertheless.
TEST(Ghosts, APersistentPageThatIsStoredWasAskedForAgain) {
  Ghosts ghosts(kPersistent, 1);
  const auto hashes = Hashes(1000);
  for (const uint64_t hash : hashes) ghosts.Stored(hash);
  EXPECT_EQ(ghosts.TakeSaved(), std::nullopt) << "none was lost";
  for (size_t i = 0; i < 400; ++i) ghosts.Lost(hashes[i], kCharge);
  EXPECT_EQ(ghosts.TakeSaved(), 0);
  for (int round = 1; round < 10; ++round) {
    for (size_t i = 0; i < hashes.size(); ++i) {
      const bool refused = (i + round * 300) % 1000 < 400;
      refused ? ghosts.Lost(hashes[i], kCharge) : ghosts.Stored(hashes[i]);
    }
    EXPECT_NEAR(*ghosts.TakeSaved(), kPagesPerSegment, kPagesPerSegment / 2) << round;
  }
  for (const uint64_t hash : hashes) ghosts.Stored(hash);
  EXPECT_NEAR(*ghosts.TakeSaved(), kPagesPerSegment, 1) << "the ghosts went with it";
  for (const uint64_t hash : hashes) ghosts.Stored(hash);
  EXPECT_EQ(ghosts.TakeSaved(), std::nullopt);
}

// The smaller its pages, the more of them a segment would have kept.
TEST(Ghosts, WellCompressedPagesSaveMore) {
  Ghosts ghosts(kPersistent, 1);
  for (int i = 0; i < 10; ++i) {
    for (const uint64_t hash : Hashes(100)) ghosts.Lost(hash, Bytes(1024));
  }
  EXPECT_NEAR(*ghosts.TakeSaved(), 9 * 4 * kPagesPerSegment, 1);
}

TEST(Ghosts, OfEphemeralPagesCountWhileTheyAreYoung) {
  Ghosts ghosts(kEphemeral, 1);
  const auto hashes = Hashes(3 * Ghosts::kYoung);
  for (const uint64_t hash : hashes) ghosts.Lost(hash, kCharge);
  for (uint32_t i = 0; i < 2 * Ghosts::kYoung; ++i) ghosts.Missed(hashes[i]);
  EXPECT_EQ(ghosts.TakeSaved(), 0) << "more memory than one would add to learn from";
  for (uint32_t i = 2 * Ghosts::kYoung; i < hashes.size(); ++i) ghosts.Missed(hashes[i]);
  EXPECT_NEAR(*ghosts.TakeSaved(), kPagesPerSegment, kPagesPerSegment * 0.05);
  for (const uint64_t hash : hashes) ghosts.Missed(hash);
  EXPECT_EQ(ghosts.TakeSaved(), std::nullopt) << "a ghost is seen once";
}

// Refused pages of more than one can remember are still told from new ones, in the sample.
TEST(Ghosts, ASampleStandsForAll) {
  constexpr uint32_t kPages = 200'000;
  Ghosts all(kPersistent, 64);
  const auto hashes = Hashes(kPages);
  for (int i = 0; i < 2; ++i) {
    for (const uint64_t hash : hashes) all.Lost(hash, kCharge);
  }
  EXPECT_NEAR(*all.TakeSaved(), kPagesPerSegment, kPagesPerSegment * 0.1);
}

TEST(Ghosts, OldOnesAreForgotten) {
  Ghosts ghosts(kPersistent, 1);
  const auto old = Hashes(100);
  for (const uint64_t hash : old) ghosts.Lost(hash, kCharge);
  for (const uint64_t hash : Hashes(100'000, 2)) ghosts.Lost(hash, kCharge);
  EXPECT_LT(*ghosts.TakeSaved(), 0.1 * kPagesPerSegment) << "but for marks that look alike";
  for (const uint64_t hash : old) ghosts.Lost(hash, kCharge);
  EXPECT_LT(*ghosts.TakeSaved(), 0.1 * kPagesPerSegment);
}

TEST(Ghosts, SamplingGrowsWithTheCapacity) {
  EXPECT_EQ(Ghosts::SamplingFor(1), 1);
  EXPECT_EQ(Ghosts::SamplingFor(8), 1);
  EXPECT_EQ(Ghosts::SamplingFor(1024), 128);
  EXPECT_EQ(Ghosts::SamplingFor(1 << 20), 1 << 17);
}

}  // namespace
}  // namespace tmem
