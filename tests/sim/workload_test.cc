#include "sim/workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <vector>

namespace tmem::sim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<uint32_t> Take(Workload& workload, size_t count, Nanoseconds now = 0) {
  std::vector<uint32_t> pages(count);
  for (uint32_t& page : pages) page = workload.Next(now);
  return pages;
}

TEST(Workload, EveryKindStaysWithinItsPagesAndFollowsItsSeed) {
  for (const auto kind : {WorkloadKind::kUsemem, WorkloadKind::kGraph, WorkloadKind::kZipf,
                          WorkloadKind::kScan, WorkloadKind::kDiurnal}) {
    for (const uint32_t pages : {1u, 7u, 1000u}) {
      const WorkloadSpec spec{.kind = kind, .pages = pages};
      const auto taken = Take(*MakeWorkload(spec, 5), 5000);
      EXPECT_LT(*std::ranges::max_element(taken), pages);
      EXPECT_EQ(Take(*MakeWorkload(spec, 5), 5000), taken);
    }
  }
}

TEST(Workload, UsememWritesEverMoreAndThenAllOfIt) {
  const auto workload = MakeWorkload({.kind = WorkloadKind::kUsemem, .pages = 16}, 1);
  EXPECT_THAT(Take(*workload, 6), ElementsAre(0, 1, 0, 1, 2, 3));
  Take(*workload, 1000);
  const auto later = Take(*workload, 16);
  EXPECT_EQ(std::set<uint32_t>(later.begin(), later.end()).size(), 16u);
}

TEST(Workload, ZipfPrefersTheFirstPages) {
  const auto taken =
      Take(*MakeWorkload({.kind = WorkloadKind::kZipf, .pages = 1000, .skew = 1}, 1), 10'000);
  const auto first = std::ranges::count_if(taken, [](uint32_t page) { return page < 100; });
  EXPECT_NEAR(static_cast<double>(first) / 10'000, 0.69, 0.03) << "H(100) / H(1000)";
}

TEST(Workload, DiurnalUsesLessAtNight) {
  const auto workload =
      MakeWorkload({.kind = WorkloadKind::kDiurnal, .pages = 1000, .skew = 0, .period = 10}, 1);
  EXPECT_LE(std::ranges::max(Take(*workload, 1000)), 200u);
  EXPECT_GT(std::ranges::max(Take(*workload, 1000, 5'000'000'000)), 900u);
}

class TraceTest : public testing::Test {
 protected:
  Result<std::vector<uint32_t>> Read(const std::string& text) {
    std::ofstream(path_) << text;
    return ReadTrace(path_);
  }
  ~TraceTest() override { std::filesystem::remove(path_); }

  const std::string path_ =
      testing::TempDir() + "trace-" + testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(TraceTest, NumbersAreMadeDense) {
  EXPECT_THAT(*Read("# recorded\n0x10\n7\n\n16\n99\n"), ElementsAre(0, 1, 0, 2));
}

TEST_F(TraceTest, SaysWhichLineIsWrong) {
  EXPECT_THAT(Read("1\n-2\n").error().message, HasSubstr(":2: '-2' is no page number"));
  EXPECT_THAT(Read("0x\n").error().message, HasSubstr(":1:"));
  EXPECT_THAT(Read("# nothing\n").error().message, HasSubstr("no page numbers"));
  EXPECT_FALSE(ReadTrace("/nonexistent"));
}

TEST_F(TraceTest, IsRepeated) {
  const auto workload =
      MakeWorkload({.kind = WorkloadKind::kTrace, .pages = 2, .trace = {0, 1, 1}}, 1);
  EXPECT_THAT(Take(*workload, 5), ElementsAre(0, 1, 1, 0, 1));
}

}  // namespace
}  // namespace tmem::sim
