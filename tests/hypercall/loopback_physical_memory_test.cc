#include "hypercall/loopback/physical_memory.h"

#include <gtest/gtest.h>

#include <string>

#include "hypercall/fake_hypervisor.h"

namespace tmem::loopback {
namespace {

TEST(LoopbackPhysicalMemoryTest, ThereIsNoneUntilSomebodySaysHowMuch) {
  FakeDirectory tree;
  EXPECT_EQ(ReadPhysicalMemory(tree).error().code, ErrorCode::kUnsupported);
  ASSERT_TRUE(tree.Write("/loopback/memory", "much"));
  EXPECT_EQ(ReadPhysicalMemory(tree).error().code, ErrorCode::kInvalid);
  ASSERT_TRUE(tree.Write("/loopback/memory", "2G"));
  const auto memory = ReadPhysicalMemory(tree);
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->held, kBackendMemory);
  EXPECT_EQ(memory->target, kBackendMemory);
  EXPECT_EQ(memory->free, GiB(2) - kBackendMemory);
  EXPECT_EQ(memory->maximum, GiB(2));
}

TEST(LoopbackPhysicalMemoryTest, TheBalloonTakesWhatGuestsLeave) {
  FakeDirectory tree;
  ASSERT_TRUE(tree.Write("/loopback/memory", "2G"));
  ASSERT_TRUE(SetBackendTarget(tree, GiB(1)));
  EXPECT_EQ(tree.ValueOf(std::string(kBackendTargetPath)), "1048576");
  EXPECT_EQ(ReadPhysicalMemory(tree)->held, GiB(1));
  ASSERT_TRUE(tree.Write("/loopback/guests-memory", "1536M"));
  EXPECT_EQ(ReadPhysicalMemory(tree)->held, MiB(512));
  EXPECT_EQ(ReadPhysicalMemory(tree)->target, GiB(1));
  EXPECT_EQ(ReadPhysicalMemory(tree)->free, Bytes(0));
  ASSERT_TRUE(tree.Write("/loopback/guests-memory", "3G"));
  EXPECT_EQ(ReadPhysicalMemory(tree)->held, Bytes(0));
}

}  // namespace
}  // namespace tmem::loopback
