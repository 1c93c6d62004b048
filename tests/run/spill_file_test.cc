#include "run/spill_file.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/units.h"

namespace tmem::run {
namespace {

using Page = std::vector<std::byte>;

Page PageOf(int value) { return Page(kPageSize, static_cast<std::byte>(value)); }

TEST(SpillFile, GivesBackWhatWasWritten) {
  auto file = SpillFile::Create("/tmp");
  ASSERT_TRUE(file);
  const auto one = file->Write(PageOf(1).data());
  const auto two = file->Write(PageOf(2).data());
  ASSERT_TRUE(one && two);
  EXPECT_NE(*one, *two);
  Page page(kPageSize);
  EXPECT_TRUE(file->Read(*one, page.data()));
  EXPECT_EQ(page, PageOf(1));
  EXPECT_TRUE(file->Read(*two, page.data()));
  EXPECT_EQ(page, PageOf(2));
}

TEST(SpillFile, UsesFreedSlotsAgain) {
  auto file = SpillFile::Create("/tmp");
  ASSERT_TRUE(file);
  const auto slot = file->Write(PageOf(1).data());
  ASSERT_TRUE(slot);
  file->Free(*slot);
  EXPECT_EQ(file->slots_in_use(), 0u);
  EXPECT_EQ(file->Write(PageOf(2).data()), slot);
  EXPECT_EQ(file->slots_in_use(), 1u);
}

TEST(SpillFile, SaysWhatIsWrongWithTheDirectory) {
  const auto file = SpillFile::Create("/nonexistent");
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, ErrorCode::kNotFound);
  EXPECT_NE(file.error().message.find("/nonexistent"), std::string::npos);
}

TEST(SpillFile, LosesNothingWhenTheDiskIsFull) {
  auto file = SpillFile::Create("/tmp");
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->Write(PageOf(1).data()));
  EXPECT_FALSE(file->Write(nullptr)) << "a write that fails, as on a full disk";
  EXPECT_EQ(file->slots_in_use(), 1u);
  EXPECT_TRUE(file->Write(PageOf(2).data()));
}

}  // namespace
}  // namespace tmem::run
