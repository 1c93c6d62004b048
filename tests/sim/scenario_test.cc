#include "sim/scenario.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tmem::sim {
namespace {

using testing::HasSubstr;

std::string Fault(const std::string& text) {
  const auto scenario = ParseScenario(text, "f", 3);
  EXPECT_FALSE(scenario) << text;
  return scenario ? "" : scenario.error().message;
}

TEST(Scenario, SaysWhatGuestsDo) {
  const auto scenario = ParseScenario(
      "# a comment\n"
      "capacity 64M\n"
      "seconds 10  # and then\n"
      "guest db workload=zipf memory=file pages=8M resident=1M skew=1.5 weight=7 reserve=2M cap=1G "
      "surrendered=3M start=2.5 think=0.01 stored=0.5\n"
      "guest web count=* workload=diurnal pages=4K resident=4K period=9\n",
      "f", 3);
  ASSERT_TRUE(scenario) << scenario.error().message;
  EXPECT_EQ(scenario->capacity, MiB(64));
  EXPECT_EQ(scenario->seconds, 10);
  ASSERT_EQ(scenario->guests.size(), 4u);
  const GuestSpec& db = scenario->guests[0];
  EXPECT_EQ(db.name, "db");
  EXPECT_EQ(db.workload.kind, WorkloadKind::kZipf);
  EXPECT_EQ(db.workload.memory, MemoryKind::kFile);
  EXPECT_EQ(db.workload.pages, 2048u);
  EXPECT_EQ(db.workload.skew, 1.5);
  EXPECT_EQ(db.resident, 256u);
  EXPECT_EQ(db.start, 2.5);
  EXPECT_EQ(db.think, 0.01);
  EXPECT_EQ(db.stored, 0.5);
  EXPECT_EQ(db.settings.weight, 7u);
  EXPECT_EQ(db.settings.reserve, MiB(2));
  EXPECT_EQ(db.settings.cap, GiB(1));
  EXPECT_EQ(db.settings.surrendered, MiB(3));
  EXPECT_EQ(scenario->guests[3].name, "web-3");
  EXPECT_NE(scenario->guests[1].workload.phase, scenario->guests[2].workload.phase);
}

TEST(Scenario, SaysWhatIsWrongAndWhatIsAllowed) {
  const std::string host = "capacity 1M\nseconds 1\n";
  EXPECT_THAT(Fault(host), HasSubstr("there is no guest"));
  EXPECT_THAT(Fault("seconds 1\nguest a pages=4K resident=4K"), HasSubstr("'capacity SIZE'"));
  EXPECT_THAT(Fault("capacity 1M\nguest a pages=4K resident=4K"), HasSubstr("accesses=N"));
  EXPECT_THAT(Fault(host + "gest a"), HasSubstr("f:3: 'gest' begins no line"));
  EXPECT_THAT(Fault(host + "guest"), HasSubstr("needs a name"));
  EXPECT_THAT(Fault(host + "guest a pages"), HasSubstr("'pages' is no setting"));
  EXPECT_THAT(Fault(host + "guest a page=4K"), HasSubstr("count, workload"));
  EXPECT_THAT(Fault(host + "guest a resident=4K"), HasSubstr("pages=SIZE"));
  EXPECT_THAT(Fault(host + "guest a pages=4K"), HasSubstr("resident=SIZE"));
  EXPECT_THAT(Fault(host + "guest a pages=1K resident=4K"), HasSubstr("from 4K"));
  EXPECT_THAT(Fault(host + "guest a pages=2T resident=4K"), HasSubstr("to 1T"));
  EXPECT_THAT(Fault(host + "guest a workload=game"), HasSubstr("one of usemem, graph"));
  EXPECT_THAT(Fault(host + "guest a memory=tape"), HasSubstr("anonymous, file"));
  EXPECT_THAT(Fault(host + "guest a weight=0"), HasSubstr("from 1 to 65535"));
  EXPECT_THAT(Fault(host + "guest a skew=nan"), HasSubstr("from 0 to 5"));
  EXPECT_THAT(Fault(host + "guest a stored=1.1"), HasSubstr("from 0 to 1"));
  EXPECT_THAT(Fault(host + "guest a workload=trace resident=4K"), HasSubstr("trace=FILE"));
  EXPECT_THAT(Fault(host + "guest a pages=4K resident=4K reserve=2M cap=1M"), HasSubstr("reserve"));
  EXPECT_THAT(Fault(host + "guest a count=2001"), HasSubstr("from 1 to 2000"));
  EXPECT_THAT(Fault(host + "guest a count=1999 pages=4K resident=4K\n"
                           "guest b count=2 pages=4K resident=4K"),
              HasSubstr("2000 guests at most"));
  EXPECT_THAT(Fault("capacity 1M 2M"), HasSubstr("'2M' is too much"));
}

TEST(Scenario, BuiltInOnesAreGood) {
  for (const BuiltIn& one : BuiltInScenarios()) {
    const auto scenario = ParseScenario(one.text, std::string(one.name), kMaxGuests - 1);
    EXPECT_TRUE(scenario) << scenario.error().message;
  }
}

}  // namespace
}  // namespace tmem::sim
