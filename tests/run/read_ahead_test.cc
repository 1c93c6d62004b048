#include "run/read_ahead.h"

#include <gtest/gtest.h>

namespace tmem::run {
namespace {

uint32_t Fault(ReadAhead& ahead, uint32_t page) {
  const uint32_t window = ahead.WindowFor(page);
  ahead.Brought(window);
  return window;
}

TEST(ReadAhead, BringsOnePageAtRandomFaults) {
  ReadAhead ahead(16);
  for (const uint32_t page : {50u, 700u, 20u, 4000u, 51000u}) EXPECT_EQ(Fault(ahead, page), 1u);
}

TEST(ReadAhead, DoublesItsWindowAlongAStream) {
  ReadAhead ahead(16);
  uint32_t page = 100;
  for (const uint32_t expected : {1u, 2u, 4u, 8u, 16u, 16u}) {
    EXPECT_EQ(Fault(ahead, page), expected);
    page += expected;
  }
}

TEST(ReadAhead, FollowsSeveralStreamsAtOnce) {
  ReadAhead ahead(8);
  uint32_t pages[] = {0, 10000, 20000, 30000};
  uint32_t window = 0;
  for (int round = 0; round < 5; ++round) {
    for (uint32_t& page : pages) {
      window = Fault(ahead, page);
      page += window;
    }
  }
  EXPECT_EQ(window, 8u);
}

TEST(ReadAhead, GoesOnAfterWhatCouldBeBrought) {
  ReadAhead ahead(16);
  EXPECT_EQ(Fault(ahead, 10), 1u);
  EXPECT_EQ(ahead.WindowFor(11), 2u);
  ahead.Brought(1);  // the page after was not there to bring
  EXPECT_EQ(ahead.WindowFor(12), 4u);
}

TEST(ReadAhead, IsOffWithAWindowOfOne) {
  ReadAhead ahead(1);
  for (uint32_t page = 0; page < 10; ++page) EXPECT_EQ(Fault(ahead, page), 1u);
}

}  // namespace
}  // namespace tmem::run
