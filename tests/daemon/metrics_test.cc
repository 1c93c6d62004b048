#include "daemon/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <limits>
#include <set>

#include "daemon/fake_administration.h"

namespace tmem::daemon {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string TextOf(const Administration& administration) {
  return prometheus::TextSerializer().Serialize(CollectMetrics(administration));
}

TEST(MetricsTest, EveryFamilyHasHelpAndAName) {
  FakeAdministration administration;
  administration.AddGuest(1, "db1");
  std::set<std::string> names;
  for (const auto& family : CollectMetrics(administration)) {
    EXPECT_THAT(family.name, testing::StartsWith("tmemd_"));
    EXPECT_THAT(family.help, testing::EndsWith("."));
    EXPECT_FALSE(family.metric.empty()) << family.name;
    EXPECT_TRUE(names.insert(family.name).second) << family.name << " twice";
    EXPECT_EQ(family.name.ends_with("_total"), family.type == prometheus::MetricType::Counter)
        << family.name;
  }
}

TEST(MetricsTest, AGuestsCountersAreToldByResult) {
  FakeAdministration administration;
  administration.AddGuest(7, "db1");
  administration.stats(7).counters = {.puts = 9,
                                      .puts_stored = 4,
                                      .puts_no_memory = 3,
                                      .puts_frozen = 2,
                                      .gets = 5,
                                      .gets_found = 1};
  const std::string text = TextOf(administration);
  for (const char* line : {"puts_total{guest=\"db1\",domid=\"7\",result=\"stored\"} 4\n",
                           "puts_total{guest=\"db1\",domid=\"7\",result=\"no_memory\"} 3\n",
                           "puts_total{guest=\"db1\",domid=\"7\",result=\"frozen\"} 2\n",
                           "gets_total{guest=\"db1\",domid=\"7\",result=\"found\"} 1\n",
                           "gets_total{guest=\"db1\",domid=\"7\",result=\"missed\"} 4\n",
                           "cap_bytes{guest=\"db1\",domid=\"7\"} +Inf\n"}) {
    EXPECT_THAT(text, HasSubstr(std::string("tmemd_guest_") + line));
  }
}

TEST(MetricsTest, TiersAndWhatTheyCostAreTold) {
  FakeAdministration administration;
  administration.AddGuest(7, "db1");
  administration.stats(7).stored[1].dense = 5;
  administration.stats(7).recompressed = {
      .waiting = 4, .made_fast = 1, .made_dense = 2, .left = 3, .cpu_ns = 1'500'000'000};
  const std::string text = TextOf(administration);
  for (const char* line :
       {"dense_pages{guest=\"db1\",domid=\"7\",class=\"persistent\"} 5\n",
        "waiting_pages{guest=\"db1\",domid=\"7\"} 4\n",
        "recompressed_pages_total{guest=\"db1\",domid=\"7\",result=\"fast\"} 1\n",
        "recompressed_pages_total{guest=\"db1\",domid=\"7\",result=\"left\"} 3\n",
        "recompression_seconds_total{guest=\"db1\",domid=\"7\"} 1.5\n"}) {
    EXPECT_THAT(text, HasSubstr(std::string("tmemd_guest_") + line));
  }
}

TEST(MetricsTest, SharesAndReasonsAreTold) {
  FakeAdministration administration;
  administration.AddGuest(7, "db1");
  administration.store().capacity = MiB(64);
  GuestShare& share = administration.share(7);
  share.entitled = kUnlimited;
  share.ephemeral_share = MiB(2);
  share.refusals.Add(Refusal::kReserves);
  share.evictions.Add(Eviction::kShrunk);
  const std::string text = TextOf(administration);
  for (const char* line :
       {"entitled_bytes{guest=\"db1\",domid=\"7\"} 67108864\n",
        "ephemeral_share_bytes{guest=\"db1\",domid=\"7\"} 2097152\n",
        "put_refusals_total{guest=\"db1\",domid=\"7\",reason=\"reserves\"} 1\n",
        "put_refusals_total{guest=\"db1\",domid=\"7\",reason=\"cap\"} 0\n",
        "evicted_segments_total{guest=\"db1\",domid=\"7\",reason=\"shrunk\"} 1\n"}) {
    EXPECT_THAT(text, HasSubstr(std::string("tmemd_guest_") + line));
  }
}

TEST(MetricsTest, WhatACapacityThatFollowsHasSeenIsTold) {
  FakeAdministration administration;
  EXPECT_THAT(TextOf(administration), Not(HasSubstr("borrowed")));
  administration.following().emplace();
  administration.following()->seen.host.free = MiB(5);
  administration.following()->seen.available = MiB(6);
  administration.following()->borrowed = MiB(7);
  administration.following()->target = MiB(8);
  const std::string text = TextOf(administration);
  for (const char* line :
       {"tmemd_host_free_bytes 5242880\n", "tmemd_dom0_available_bytes 6291456\n",
        "tmemd_borrowed_bytes 7340032\n", "tmemd_dom0_target_bytes 8388608\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(MetricsTest, NoNameBreaksTheText) {
  FakeAdministration administration;
  administration.AddGuest(1, "a\xff");
  administration.AddGuest(2, "a\xfe");
  administration.AddGuest(3, "b\"} 1\nevil 2");
  const std::string text = TextOf(administration);
  EXPECT_THAT(text, Not(HasSubstr("\xff")));
  EXPECT_THAT(text, HasSubstr("tmemd_guest_weight{guest=\"a\xEF\xBF\xBD\",domid=\"1\"} 100\n"));
  EXPECT_THAT(text, HasSubstr("tmemd_guest_weight{guest=\"a\xEF\xBF\xBD\",domid=\"2\"} 100\n"));
  EXPECT_THAT(text, Not(HasSubstr("\nevil 2")));
}

}  // namespace
}  // namespace tmem::daemon
