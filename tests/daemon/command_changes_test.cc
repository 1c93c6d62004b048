#include "daemon/command_changes.h"

#include <gtest/gtest.h>

#include "daemon/temporary_folder.h"

namespace tmem::daemon {
namespace {

constexpr Uuid kDb{{7, 7}};

class CommandChangesTest : public testing::Test {
 protected:
  // What is read from a file with that text.
  CommandChanges Loaded(const std::string& text) {
    folder_.Write("settings.json", text);
    return LoadCommandChanges(folder_.Path("."));
  }
  const TemporaryFolder folder_;
};

TEST_F(CommandChangesTest, WhatIsSavedIsLoaded) {
  const CommandChanges changes{
      .host = {{"capacity", std::string("64M")},
               {"allowed-guests", std::vector<std::string>{"a \"b\"", "c"}}},
      .guests = {{kDb,
                  {{"weight", int64_t{9}},
                   {"frozen", true},
                   {"shared-auth/00000000-0000-0001-0000-000000000002", true}}}}};
  ASSERT_TRUE(SaveCommandChanges(folder_.Path("."), changes));
  EXPECT_EQ(LoadCommandChanges(folder_.Path(".")), changes);
}

TEST_F(CommandChangesTest, NoFileIsNothing) {
  EXPECT_EQ(LoadCommandChanges(folder_.Path(".")), CommandChanges());
}

TEST_F(CommandChangesTest, SettingsThatThisVersionDoesNotKnowAreLeftOutAlone) {
  const auto changes = Loaded(R"({"host": {"warp": 9, "spin-us": 7, "workers": 2},
      "guests": {")" + kDb.ToString() +
                              R"(": {"weight": 0, "cap": "1G", "colour": {}},
                 "nobody": {"weight": 1}}})");
  EXPECT_EQ(changes.host, (SettingChanges{{"spin-us", int64_t{7}}}));
  EXPECT_EQ(changes.guests, (std::map<Uuid, SettingChanges>{{kDb, {{"cap", std::string("1G")}}}}));
}

TEST_F(CommandChangesTest, ADamagedFileIsLeftOut) {
  for (const char* text :
       {"", "{", "[]", "{}", R"({"host": 1, "guests": 2})", R"({"host": {}, "guests": ["a"]})"}) {
    EXPECT_EQ(Loaded(text), CommandChanges()) << text;
  }
}

}  // namespace
}  // namespace tmem::daemon
