#include "run/counters.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace tmem::run {
namespace {

Counters Example() {
  Counters counters;
  counters.limit = 16384;
  counters.resident_peak = 16000;
  counters.gets = 75;
  counters.gets_found = 75;
  counters.spill_reads = 25;
  counters.evicted = 200;
  counters.evicted_clean = 40;
  counters.evicted_zero = 10;
  return counters;
}

TEST(Counters, PrintATable) {
  const std::string table = FormatTable(Example(), "sort-17");
  EXPECT_NE(table.find("guest sort-17\n"), std::string::npos) << table;
  EXPECT_NE(table.find("62.5 MiB of 64.0 MiB\n"), std::string::npos) << table;
  EXPECT_NE(table.find("brought back by tmemd         75.0%\n"), std::string::npos) << table;
  EXPECT_NE(table.find("evicted for free             25.0%\n"), std::string::npos) << table;
}

TEST(Counters, WriteJson) {
  const auto json = nlohmann::json::parse(FormatJson(Example(), "a\"b\\c"));
  EXPECT_EQ(json["guest"], "a\"b\\c");
  EXPECT_EQ(json["limit"], 16384);
  EXPECT_EQ(json["gets_found"], 75);
  EXPECT_EQ(json["page_size"], 4096);
  EXPECT_DOUBLE_EQ(json["pool_hit_ratio"], 0.75);
  EXPECT_DOUBLE_EQ(json["free_eviction_ratio"], 0.25);
}

TEST(Counters, HaveNoRatioOfNothing) {
  const auto json = nlohmann::json::parse(FormatJson(Counters{}, "idle"));
  EXPECT_DOUBLE_EQ(json["pool_hit_ratio"], 0.0);
}

}  // namespace
}  // namespace tmem::run
