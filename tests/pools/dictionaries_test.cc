#include "pools/dictionaries.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "pools/page_maker.h"
#include "pools/tmpfs_folder.h"

namespace tmem {
namespace {

class DictionariesTest : public testing::Test {
 protected:
  DictionariesTest() { std::filesystem::create_directory(folder_.store()); }
  size_t Files() const {
    const std::filesystem::directory_iterator files(folder_.store());
    return static_cast<size_t>(std::distance(begin(files), end(files)));
  }

  const TmpfsFolder folder_;
  const DictionaryFiles files_ = [this] {
    std::filesystem::create_directory(folder_.store());
    return DictionaryFiles(UniqueFd(open(folder_.store().c_str(), O_RDONLY | O_DIRECTORY)));
  }();
};

TEST(DictionaryGenerationTest, RisesWithEachQuadrupling) {
  EXPECT_EQ(Dictionaries::GenerationOf(0), kNoDictionary);
  EXPECT_EQ(Dictionaries::GenerationOf(Dictionary::kMaxSamples - 1), kNoDictionary);
  uint64_t pages = Dictionary::kMaxSamples;
  for (DictionaryId id = 1; id < 20; ++id, pages *= 4) {
    EXPECT_EQ(Dictionaries::GenerationOf(pages), id);
    EXPECT_EQ(Dictionaries::GenerationOf(4 * pages - 1), id);
  }
}

TEST_F(DictionariesTest, OutliveTheProcessThatLeavesThem) {
  const auto first = MakeDictionary(1);
  const auto second = MakeDictionary(2);
  {
    Dictionaries mine(files_, 17);
    EXPECT_EQ(mine.newest(), nullptr);
    ASSERT_TRUE(mine.Adopt(first));
    EXPECT_EQ(mine.newest(), first);
    ASSERT_TRUE(mine.Adopt(second));
    EXPECT_EQ(mine.newest(), second);
    EXPECT_EQ(mine.Find(1), first);
    EXPECT_EQ(mine.Find(3), nullptr);
    mine.Leave();
  }
  Dictionaries again(files_, 17);
  ASSERT_NE(again.newest(), nullptr);
  EXPECT_EQ(again.newest()->id(), 2);
  EXPECT_TRUE(std::ranges::equal(again.newest()->image(), second->image()));
  EXPECT_EQ(again.newest()->codec(), DenseCodec::kLz4);
  ASSERT_NE(again.Find(1), nullptr);
  EXPECT_TRUE(std::ranges::equal(again.Find(1)->image(), first->image()));
  EXPECT_EQ(Dictionaries(files_, 1).newest(), nullptr) << "another owner's";
}

TEST_F(DictionariesTest, GoWithTheirOwner) {
  {
    Dictionaries mine(files_, 17);
    Dictionaries others(files_, 171);
    ASSERT_TRUE(mine.Adopt(MakeDictionary(1)));
    ASSERT_TRUE(others.Adopt(MakeDictionary(1)));
    others.Leave();
  }
  EXPECT_EQ(Files(), 1u);
  EXPECT_NE(Dictionaries(files_, 171).newest(), nullptr);
  EXPECT_EQ(Files(), 0u);
}

TEST_F(DictionariesTest, OrphansAndUnfinishedFilesAreRemoved) {
  ASSERT_TRUE(files_.Write(17, 1, MakeDictionary(1)->image()));
  ASSERT_TRUE(files_.Write(18, 1, MakeDictionary(1)->image()));
  std::ofstream(folder_.store() + "/17-2.new") << "unfinished";
  std::ofstream(folder_.store() + "/note") << "somebody's";
  EXPECT_EQ(files_.Read(17).size(), 1u);
  files_.RemoveAllBut({17});
  EXPECT_EQ(Files(), 1u);
  EXPECT_EQ(files_.Read(17).size(), 1u);
}

TEST_F(DictionariesTest, ADamagedOneIsNotUsed) {
  ASSERT_TRUE(files_.Write(17, 1, MakeDictionary(1)->image()));
  ASSERT_TRUE(files_.Write(17, 2, MakeDictionary(2)->image()));
  std::filesystem::resize_file(folder_.store() + "/17-2", 1000);
  const Dictionaries mine(files_, 17);
  EXPECT_EQ(mine.Find(2), nullptr);
  EXPECT_EQ(mine.newest()->id(), 1);
}

TEST_F(DictionariesTest, WhatCannotBeKeptIsNotUsed) {
  std::filesystem::create_directory(folder_.store() + "/17-1.new");
  Dictionaries mine(files_, 17);
  EXPECT_FALSE(mine.Adopt(MakeDictionary(1)));
  EXPECT_EQ(mine.newest(), nullptr);
}

TEST(VolatileDictionariesTest, NeedNoFolder) {
  const DictionaryFiles nowhere;
  Dictionaries mine(nowhere, 17);
  EXPECT_TRUE(mine.Adopt(MakeDictionary(1)));
  EXPECT_EQ(mine.newest()->id(), 1);
}

}  // namespace
}  // namespace tmem
