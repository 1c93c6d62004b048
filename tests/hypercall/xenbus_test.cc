#include "hypercall/xenbus.h"

#include <gtest/gtest.h>

#include <string>

namespace tmem {
namespace {

TEST(XenbusTest, StatesReadBackAsTheyAreWritten) {
  for (int i = 1; i <= 6; ++i) {
    const auto state = static_cast<XenbusState>(i);
    EXPECT_EQ(ToNode(state), std::to_string(i));
    EXPECT_EQ(ParseXenbusState(ToNode(state)), state);
  }
}

TEST(XenbusTest, WhatIsNoStateIsUnknown) {
  for (const char* text : {"", "0", "7", "9", "-1", "4 ", " 4", "04", "44", "four", "\xff"}) {
    EXPECT_EQ(ParseXenbusState(text), XenbusState::kUnknown) << text;
  }
  EXPECT_EQ(ParseXenbusState(std::string_view("4\0", 2)), XenbusState::kUnknown);
}

TEST(XenbusTest, PathsAreThoseOfXen) {
  EXPECT_EQ(FrontendPath(GuestId{7}), "/local/domain/7/device/tmem/0");
  EXPECT_EQ(BackendPath(GuestId{7}), "/local/domain/0/backend/tmem/7/0");
}

}  // namespace
}  // namespace tmem
