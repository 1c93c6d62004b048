#include "ctl/plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tmem::ctl {
namespace {

using testing::ElementsAre;
using Values = std::vector<std::optional<double>>;

TEST(PlotTest, ValuesRiseThroughTheGlyphsAndTheRows) {
  const Values values = {0, 1, 2, 3, 4, 5, 6};
  EXPECT_THAT(PlotLines(values, 6, 2, Glyphs::kAscii), ElementsAre("    .:#", " .:####"));
  EXPECT_THAT(PlotLines(Values{0, 1, 4, 8}, 8, 1, Glyphs::kBlocks), ElementsAre(" ▁▄█"));
}

TEST(PlotTest, WhatIsThereShowsAndWhatIsAbsentDoesNot) {
  EXPECT_THAT(PlotLines(Values{1e-9, std::nullopt, 0}, 1e9, 1, Glyphs::kAscii), ElementsAre(".  "));
}

TEST(PlotTest, ValuesBeyondTheScaleStayInIt) {
  EXPECT_THAT(PlotLines(Values{-1, 5}, 2, 2, Glyphs::kAscii), ElementsAre(" #", " #"));
}

TEST(PlotTest, NothingIsEmptyRows) {
  EXPECT_THAT(PlotLines({}, 1, 2, Glyphs::kAscii), ElementsAre("", ""));
}

}  // namespace
}  // namespace tmem::ctl
