#include "daemon/guest_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "daemon/temporary_folder.h"

namespace tmem::daemon {
namespace {

using testing::HasSubstr;

KnobValue Text(const char* text) { return std::string(text); }

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(GuestFilesTest, ANewFileHasALineForEachSetting) {
  const auto text = EditGuestFile("", {.changes = {{"weight", int64_t{200}}, {"cap", Text("1G")}}});
  EXPECT_EQ(text, "cap = \"1G\"\nweight = 200\n");
}

TEST(GuestFilesTest, CommentsOrderAndSpacingStay) {
  const std::string before =
      "# The database. Ask the owners before lowering its reserve.\n"
      "reserve   = \"64M\"   # since March\n"
      "\n"
      "weight=100# as everybody\n"
      "shared-auth = [\n"
      "  \"00000000-0000-0001-0000-000000000002\",  # the cluster's\n"
      "]\n";
  const auto after = EditGuestFile(
      before, {.changes = {{"weight", int64_t{200}}, {"reserve", Text("1G")}, {"frozen", true}}});
  EXPECT_EQ(after,
            "# The database. Ask the owners before lowering its reserve.\n"
            "reserve   = \"1G\"   # since March\n"
            "\n"
            "weight=200# as everybody\n"
            "shared-auth = [\n"
            "  \"00000000-0000-0001-0000-000000000002\",  # the cluster's\n"
            "]\n"
            "frozen = true\n");
}

TEST(GuestFilesTest, WhatIsUndoneLosesItsLines) {
  const std::string before =
      "weight = 5\nshared-auth = [\n  \"00000000-0000-0001-0000-000000000002\",\n]  # two\ncap = "
      "\"1G\"";
  EXPECT_EQ(EditGuestFile(before, {.undone = {"shared-auth"}}), "weight = 5\ncap = \"1G\"\n");
  EXPECT_EQ(EditGuestFile("compress = \"off\"\n",
                          {.undone = {"compress-ephemeral", "compress-persistent"}}),
            "");
  EXPECT_EQ(EditGuestFile("weight = 5", {.undone = {"cap"}}), "weight = 5\n");
}

TEST(GuestFilesTest, WhatCannotBeEditedPieceByPieceIsRefused) {
  const auto half = EditGuestFile("compress = \"off\"\n", {.undone = {"compress-ephemeral"}});
  ASSERT_FALSE(half);
  EXPECT_THAT(half.error().message, HasSubstr("edit it"));
  EXPECT_FALSE(EditGuestFile("weight = ", {}));
  EXPECT_FALSE(EditGuestFile("[guest]\nweight = 1", {}));
}

TEST(GuestFilesTest, PoolsAreAuthorizedOneByOne) {
  const char pool[] = "shared-auth/00000000-0000-0001-0000-000000000002";
  const auto text = EditGuestFile("weight = 5\n", {.changes = {{pool, true}}});
  EXPECT_EQ(text, "weight = 5\n\"shared-auth/00000000-0000-0001-0000-000000000002\" = true\n");
  EXPECT_EQ(EditGuestFile(*text, {.changes = {{pool, false}}}),
            "weight = 5\n\"shared-auth/00000000-0000-0001-0000-000000000002\" = false\n");
}

// Whatever the file says and however it is laid out, an edit makes it say that with the edit made.
RC_GTEST_PROP(GuestFilesTest, EditsDoWhatTheySayWhateverTheFileLooksLike, ()) {
  const auto spaces = [] { return *rc::gen::element<std::string>("", " ", "\t ", "   "); };
  const auto size = [] { return *rc::gen::element<std::string>("\"1M\"", "'2G'", "4096", "0"); };
  std::string before;
  for (const std::string name : {"weight", "reserve", "frozen"}) {
    if (!*rc::gen::arbitrary<bool>()) continue;
    const std::string value = name == "weight"   ? std::to_string(*rc::gen::inRange(1, 65536))
                              : name == "frozen" ? *rc::gen::element<std::string>("true", "false")
                                                 : size();
    before += *rc::gen::element<std::string>("", "\n", "# weight = 7\n", "  # \xc3\xa4 = \"\n");
    before += spaces() + name + spaces() + "=" + spaces() + value + spaces() +
              *rc::gen::element<std::string>("\n", "# reserve = 0\n");
  }
  SettingEdits edits;
  if (*rc::gen::arbitrary<bool>()) edits.changes["weight"] = *rc::gen::inRange<int64_t>(1, 65536);
  if (*rc::gen::arbitrary<bool>()) edits.changes["frozen"] = *rc::gen::arbitrary<bool>();
  if (*rc::gen::arbitrary<bool>()) edits.undone.insert("reserve");

  const auto after = EditGuestFile(before, edits);
  RC_ASSERT(after.has_value());
  const auto expected = Edited(*ParseGuestFile(before, "f"), edits);
  RC_ASSERT(*ParseGuestFile(*after, "f") == expected);
}

TEST(GuestFilesTest, WritesAFileAndItsFolder) {
  const TemporaryFolder folder;
  const std::string guests = folder.Path("guests.d");
  EXPECT_EQ(ReadGuestFiles(guests)->size(), 0u);
  const auto written = WriteGuestFile(guests, "db1", {.changes = {{"weight", int64_t{7}}}});
  ASSERT_TRUE(written) << written.error().message;
  EXPECT_EQ(ReadFile(guests + "/db1.toml"), "weight = 7\n");
  EXPECT_EQ(*ReadGuestFiles(guests), (std::map<std::string, SettingChanges>{{"db1", *written}}));
  struct stat status{};
  ASSERT_EQ(::stat((guests + "/db1.toml").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0644u);
  EXPECT_FALSE(std::filesystem::exists(guests + "/db1.toml.new"));
}

TEST(GuestFilesTest, AFileOfAUuidHasTheUuidsOneSpelling) {
  const TemporaryFolder folder;
  folder.Write("b3f5c1ee-0c2e-4c52-9d5f-6a1d6c2f1a00.toml", "weight = 7\n");
  EXPECT_TRUE(ReadGuestFiles(folder.Path(""))->contains("b3f5c1ee-0c2e-4c52-9d5f-6a1d6c2f1a00"));
  folder.Write("B3F5C1EE0C2E4C529D5F6A1D6C2F1A00.toml", "");
  EXPECT_THAT(ReadGuestFiles(folder.Path("")).error().message,
              HasSubstr("name this file b3f5c1ee-0c2e-4c52-9d5f-6a1d6c2f1a00.toml"));
}

TEST(GuestFilesTest, NoNameLeadsOutOfTheFolder) {
  const TemporaryFolder folder;
  for (const char* name : {"", ".", "..", "../x", "a/b", ".hidden", "a\nb"}) {
    EXPECT_FALSE(NamesAFile(name)) << name;
    EXPECT_FALSE(WriteGuestFile(folder.Path(""), name, {})) << name;
  }
  EXPECT_FALSE(NamesAFile(std::string(300, 'x')));
  EXPECT_TRUE(NamesAFile("my guest-1.example.org"));
}

TEST(GuestFilesTest, AFileThatCannotBeWrittenIsToldAndStaysAsItWas) {
  const TemporaryFolder folder;
  const std::string file = folder.Write("guests.d", "not a folder");
  const auto written = WriteGuestFile(file, "db1", {.changes = {{"weight", int64_t{7}}}});
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().message, HasSubstr("Not a directory"));
}

}  // namespace
}  // namespace tmem::daemon
