#include "ctl/top_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/stats_json.h"

namespace tmem::ctl {
namespace {

using std::chrono::seconds;
using testing::ContainsRegex;
using testing::HasSubstr;

struct Figures {
  uint16_t id;
  std::string name;
  uint64_t puts = 0;
  uint64_t gets = 0;
  uint64_t hits = 0;
  uint64_t refused = 0;
  Bytes used{0};
  Bytes persistent{0};
  Bytes cap = kUnlimited;
};

Json Sample(const std::vector<Figures>& guests) {
  daemon::HostInfo host;
  host.store.capacity = MiB(64);
  host.store.guests = static_cast<uint32_t>(guests.size());
  Json json{{"host", ToJson(host)}, {"guests", Json::array()}};
  for (const Figures& figures : guests) {
    ConnectionInfo connection;
    connection.guest = {.id = {figures.id}, .name = figures.name, .uuid = {}};
    connection.state = "connected";
    GuestStats stats;
    stats.charged = figures.used;
    stats.stored[static_cast<size_t>(PageClass::kPersistent)].charged_bytes =
        figures.persistent.value;
    stats.settings.cap = figures.cap;
    stats.counters.puts = figures.puts;
    stats.counters.gets = figures.gets;
    stats.counters.gets_found = figures.hits;
    stats.counters.puts_no_memory = figures.refused;
    json["guests"].push_back(daemon::ToJson(connection, stats));
  }
  return json;
}

class TopModelTest : public testing::Test {
 protected:
  // The guests' names, from above.
  std::vector<std::string> Order() {
    std::vector<std::string> names;
    const auto lines = model_.Lines();
    for (size_t i = 3; i < lines.size(); ++i) {
      const size_t start = lines[i].find_first_not_of(' ', lines[i].find("  ", 2));
      names.push_back(lines[i].substr(start, lines[i].find(' ', start) - start));
    }
    return names;
  }

  std::string Line(const std::string& name) {
    for (const std::string& line : model_.Lines()) {
      if (line.find(" " + name + " ") != std::string::npos) return line;
    }
    return "";
  }

  TopModel model_;
  TimePoint start_{};
};

TEST_F(TopModelTest, FirstSampleHasNoRates) {
  model_.Update(Sample({{.id = 1, .name = "db1", .puts = 1000}}), start_);
  EXPECT_THAT(model_.Lines()[0], HasSubstr("1 guests, capacity 64.0 MiB"));
  EXPECT_THAT(model_.Lines()[2], HasSubstr("PUTS/S"));
  EXPECT_THAT(Line("db1"), ContainsRegex("-  +-  +-  +-  +-$"));
}

TEST_F(TopModelTest, RatesAreDifferencesASecond) {
  model_.Update(Sample({{.id = 1, .name = "db1", .puts = 1000, .gets = 500, .hits = 100}}), start_);
  model_.Update(
      Sample({{.id = 1, .name = "db1", .puts = 1600, .gets = 900, .hits = 200, .refused = 20}}),
      start_ + seconds(2));
  EXPECT_THAT(Line("db1"), ContainsRegex(" 300 +200 +25.0% +10 +0$"));
}

TEST_F(TopModelTest, AGuestThatStartedAnewHasNoRates) {
  model_.Update(Sample({{.id = 1, .name = "db1", .puts = 1000}}), start_);
  model_.Update(Sample({{.id = 1, .name = "db1", .puts = 10}}), start_ + seconds(1));
  EXPECT_THAT(Line("db1"), ContainsRegex("-  +-  +-  +-  +-$"));
  model_.Update(Sample({{.id = 1, .name = "web", .puts = 5000}}), start_ + seconds(2));
  EXPECT_THAT(Line("web"), ContainsRegex("-  +-  +-  +-  +-$"));
}

TEST_F(TopModelTest, TwoSamplesAtOneInstantHaveNoRates) {
  model_.Update(Sample({{.id = 1, .name = "db1", .puts = 1}}), start_);
  model_.Update(Sample({{.id = 1, .name = "db1", .puts = 2}}), start_);
  EXPECT_THAT(Line("db1"), ContainsRegex("-  +-  +-  +-  +-$"));
}

TEST_F(TopModelTest, SortsByTheKeyOfAColumn) {
  const std::vector<Figures> before = {{.id = 1, .name = "b", .used = MiB(2)},
                                       {.id = 2, .name = "a", .used = MiB(3)},
                                       {.id = 3, .name = "c", .used = MiB(1)}};
  auto after = before;
  after[2].puts = 100;
  after[0].puts = 50;
  model_.Update(Sample(before), start_);
  model_.Update(Sample(after), start_ + seconds(1));
  EXPECT_EQ(Order(), (std::vector<std::string>{"a", "b", "c"})) << "memory, downwards";
  ASSERT_TRUE(model_.SortBy('u'));
  EXPECT_EQ(Order(), (std::vector<std::string>{"c", "b", "a"}));
  model_.Reverse();
  EXPECT_EQ(Order(), (std::vector<std::string>{"a", "b", "c"}));
  ASSERT_TRUE(model_.SortBy('n'));
  EXPECT_EQ(Order(), (std::vector<std::string>{"a", "b", "c"})) << "names, upwards";
}

TEST_F(TopModelTest, ABarShowsWhatIsUsedOfTheLimit) {
  model_.Update(Sample({{.id = 1, .name = "of-capacity", .used = MiB(32), .persistent = MiB(16)},
                        {.id = 2, .name = "of-cap", .used = MiB(6), .cap = MiB(8)},
                        {.id = 3, .name = "idle", .cap = MiB(128)},
                        {.id = 4, .name = "over", .used = MiB(70), .persistent = MiB(70)},
                        {.id = 5, .name = "shut", .used = MiB(1), .cap = Bytes(0)}}),
                start_);
  EXPECT_THAT(Line("of-capacity"), HasSubstr(" ###+++...... "));
  EXPECT_THAT(Line("of-cap"), HasSubstr(" +++++++++... "));
  EXPECT_THAT(Line("idle"), HasSubstr(" ............ "));
  EXPECT_THAT(Line("over"), HasSubstr(" ############ "));
  EXPECT_THAT(Line("shut"), HasSubstr(" ............ "));
  ASSERT_TRUE(model_.SortBy('b'));
  EXPECT_EQ(Order().front(), "over");
  EXPECT_EQ(Order()[1], "of-cap");
}

TEST_F(TopModelTest, UnknownKeysChangeNothing) {
  EXPECT_FALSE(model_.SortBy('z'));
  EXPECT_FALSE(model_.SortBy('\0'));
  for (const char key : std::string("inepmbughfv")) EXPECT_TRUE(model_.SortBy(key)) << key;
}

TEST_F(TopModelTest, GuestsThatGoAreForgotten) {
  model_.Update(Sample({{.id = 1, .name = "db1"}, {.id = 2, .name = "web"}}), start_);
  model_.Update(Sample({{.id = 2, .name = "web"}}), start_ + seconds(1));
  EXPECT_EQ(Line("db1"), "");
  EXPECT_NE(Line("web"), "");
}

TEST_F(TopModelTest, WhatIsNoSampleThrowsAndChangesNothing) {
  model_.Update(Sample({{.id = 1, .name = "db1"}}), start_);
  const auto lines = model_.Lines();
  EXPECT_THROW(model_.Update(Json::object(), start_), nlohmann::json::exception);
  EXPECT_THROW(model_.Update({{"guests", Json::array()}}, start_), nlohmann::json::exception);
  EXPECT_EQ(model_.Lines(), lines);
}

}  // namespace
}  // namespace tmem::ctl
