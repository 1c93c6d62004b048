#include "daemon/dom0_memory.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>

#include "daemon/temporary_folder.h"

namespace tmem::daemon {
namespace {

using std::chrono::seconds;

constexpr const char* kMeminfo =
    "MemTotal:        4029752 kB\nMemFree:           46400 kB\nMemAvailable:    2097152 kB\n";

class Dom0MemoryTest : public testing::Test {
 protected:
  Dom0MemoryTest() { std::filesystem::create_directory(proc_.Path("pressure")); }

  void WritePressure(int some_us, int full_us) {
    proc_.Write("pressure/memory",
                "some avg10=99.00 avg60=0.00 avg300=0.00 total=" + std::to_string(some_us) +
                    "\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=" + std::to_string(full_us) +
                    "\n");
  }
  bool IsStalledAfter(seconds time) {
    now_ += time;
    return memory_.Read(now_).value().is_stalled;
  }

  const TemporaryFolder proc_;
  TimePoint now_{seconds(5)};
  Dom0Memory memory_{proc_.Path("")};
};

TEST_F(Dom0MemoryTest, TellsWhatIsAvailable) {
  proc_.Write("meminfo", kMeminfo);
  EXPECT_EQ(memory_.Read(now_)->available, GiB(2));
  EXPECT_FALSE(memory_.Read(now_)->is_stalled) << "a kernel that does not tell";
}

TEST_F(Dom0MemoryTest, SaysThatTheKernelDoesNotTell) {
  EXPECT_EQ(memory_.Read(now_).error().code, ErrorCode::kNotFound);
  for (const char* const text : {"", "MemFree: 1 kB\n", "MemAvailable: much\n",
                                 "MemAvailable:", "MemAvailable: 18446744073709551615 kB\n"}) {
    proc_.Write("meminfo", text);
    EXPECT_EQ(memory_.Read(now_).error().code, ErrorCode::kUnsupported) << text;
  }
}

TEST_F(Dom0MemoryTest, IsStalledWhileProgramsWaitForATenthOfTheTime) {
  proc_.Write("meminfo", kMeminfo);
  WritePressure(50'000'000, 0);
  EXPECT_FALSE(IsStalledAfter(seconds(1))) << "what was before the first look";
  WritePressure(50'199'999, 0);
  EXPECT_FALSE(IsStalledAfter(seconds(2)));
  WritePressure(50'399'999, 0);
  EXPECT_TRUE(IsStalledAfter(seconds(2)));
  EXPECT_FALSE(IsStalledAfter(seconds(0)));
  EXPECT_FALSE(IsStalledAfter(seconds(1))) << "it is over, whatever the averages say";
}

}  // namespace
}  // namespace tmem::daemon
