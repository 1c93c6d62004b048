#include "ctl/history_view.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

namespace tmem::ctl {
namespace {

using daemon::History;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::vector<std::string> LinesOf(const std::vector<History::Sample>& samples,
                                 const std::string& name = "db1") {
  const GuestInfo guest{.id = {7}, .name = name, .uuid = {}};
  std::istringstream text(HistoryView(ToJson(guest, samples), Glyphs::kAscii));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

// The lowest line of a plot, from its first column on.
std::string PlotOf(const std::vector<std::string>& lines, const std::string& title) {
  for (size_t i = 0; i + 3 < lines.size(); ++i) {
    if (lines[i].starts_with(title + ": now"))
      return lines[i + 3].substr(lines[i + 3].find('|') + 1);
  }
  return "no plot of " + title;
}

std::string All(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + '\n';
  return text;
}

TEST(HistoryViewTest, AYoungGuestsColumnsAreTenSeconds) {
  const auto lines = LinesOf({{.used_bytes = 1 << 20, .puts = 100, .seconds = 10},
                              {.used_bytes = 3 << 20, .puts = 300, .seconds = 10},
                              {.used_bytes = 2 << 20, .puts = 10, .seconds = 5}});
  EXPECT_EQ(lines.front(), "guest 7 db1, the last 10 minutes, 10 seconds a column");
  EXPECT_THAT(All(lines),
              AllOf(HasSubstr("used: now 2.67 MiB, at most 2.67 MiB\n"),
                    HasSubstr("puts/s: now 21, at most 21\n"),
                    HasSubstr("refused/s: 0.0 all the time\n"), HasSubstr("hits of gets: none\n")));
  // The interval under way and the one before it end in the last ten seconds.
  EXPECT_EQ(PlotOf(lines, "puts/s"), std::string(58, ' ') + "##");
}

TEST(HistoryViewTest, AnHoursColumnsAreMinutesOfMeans) {
  std::vector<History::Sample> samples(360, {.gets = 10, .gets_found = 5, .seconds = 10});
  for (size_t i = 354; i < 360; ++i) samples[i] = {.gets = 20, .gets_found = 20, .seconds = 10};
  const auto lines = LinesOf(samples);
  EXPECT_EQ(lines.front(), "guest 7 db1, the last 60 minutes, a minute a column");
  EXPECT_THAT(All(lines), AllOf(HasSubstr("gets/s: now 2.0, at most 2.0\n"),
                                HasSubstr("hits of gets: now 100%, at most 100%\n"),
                                HasSubstr("60 minutes ago"), Not(HasSubstr("10 minutes"))));
  EXPECT_EQ(PlotOf(lines, "gets/s"), std::string(60, '#'));
}

TEST(HistoryViewTest, NobodyWaitsForTheFirstSample) {
  EXPECT_THAT(All(LinesOf({})), AllOf(HasSubstr("guest 7 db1"), HasSubstr("used: none\n")));
  EXPECT_THAT(All(LinesOf({{.puts = 3, .seconds = 0}})), HasSubstr("puts/s: none\n"));
}

TEST(HistoryViewTest, ANameDoesNotMoveTheCursor) {
  EXPECT_THAT(All(LinesOf({}, "a\x1b[2J")), Not(HasSubstr("\x1b")));
}

TEST(HistoryViewTest, LinesFitATerminalsEightyColumns) {
  const auto lines = LinesOf({{.used_bytes = uint64_t{1} << 62,
                               .puts = UINT32_MAX,
                               .puts_refused = UINT32_MAX,
                               .gets = UINT32_MAX,
                               .gets_found = UINT32_MAX,
                               .evicted = UINT32_MAX,
                               .seconds = 0.001F}});
  EXPECT_LE(lines.size(), 30u);
  for (const std::string& line : lines) EXPECT_LE(line.size(), 80u) << line;
}

TEST(HistoryViewTest, WhatIsNoHistoryIsRefused) {
  Json json = daemon::ToJson(GuestInfo{.id = {7}, .name = "db1", .uuid = {}}, {});
  json["puts"].push_back(1);
  EXPECT_THROW(HistoryView(json, Glyphs::kAscii), nlohmann::json::exception);
  EXPECT_THROW(HistoryView(Json::object(), Glyphs::kAscii), nlohmann::json::exception);
}

}  // namespace
}  // namespace tmem::ctl
