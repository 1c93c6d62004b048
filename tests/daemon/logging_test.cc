#include "daemon/logging.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

namespace tmem::daemon {
namespace {

using testing::MatchesRegex;

class LoggingTest : public testing::Test {
 protected:
  ~LoggingTest() override {
    InstallLogger(false);
    SetLogLevel(LogLevel::kInfo);
  }
};

TEST_F(LoggingTest, LinesForTheJournalCarryTheirPriorityAndNoTime) {
  testing::internal::CaptureStderr();
  InstallLogger(true);
  SetLogLevel(LogLevel::kDebug);
  spdlog::error("e");
  spdlog::warn("w");
  spdlog::info("i");
  spdlog::debug("d");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "<3>e\n<4>w\n<6>i\n<7>d\n");
}

TEST_F(LoggingTest, LinesForATerminalCarryTimeAndLevel) {
  testing::internal::CaptureStderr();
  InstallLogger(false);
  spdlog::warn("careful");
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              MatchesRegex("[0-9-]+ [0-9:.]+ warning: careful\n"));
}

TEST_F(LoggingTest, DropsWhatIsBelowTheLevel) {
  testing::internal::CaptureStderr();
  InstallLogger(true);
  SetLogLevel(LogLevel::kWarning);
  spdlog::info("i");
  spdlog::warn("w");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "<4>w\n");
}

TEST_F(LoggingTest, FindsTheJournalByDeviceAndInode) {
  struct stat status{};
  ASSERT_EQ(::fstat(STDERR_FILENO, &status), 0);
  const std::string ours = fmt::format("{}:{}", status.st_dev, status.st_ino);
  EXPECT_TRUE(StderrIsJournal(ours.c_str()));
  EXPECT_FALSE(StderrIsJournal((ours + "0").c_str()));
  EXPECT_FALSE(StderrIsJournal(nullptr));
}

TEST_F(LoggingTest, LevelsReadBack) {
  for (const std::string_view name : kLogLevelNames) {
    EXPECT_EQ(ToString(*ParseLogLevel(name)), name);
  }
  EXPECT_FALSE(ParseLogLevel("loud"));
}

}  // namespace
}  // namespace tmem::daemon
