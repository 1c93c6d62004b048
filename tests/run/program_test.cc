#include "run/program.h"

#include <elf.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "run/settings.h"

namespace tmem::run {
namespace {

class ProgramTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = "/tmp/tmemrun-test-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string Make(const std::string& content, mode_t mode = 0755) {
    const std::string path = folder_ / "program";
    std::ofstream(path, std::ios::binary) << content;
    ::chmod(path.c_str(), mode);
    return path;
  }

  // An ELF file of one segment.
  static std::string Elf(uint32_t segment_type, unsigned char elf_class = ELFCLASS64) {
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = elf_class;
    header.e_machine = EM_X86_64;
    header.e_phoff = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 1;
    Elf64_Phdr segment{};
    segment.p_type = segment_type;
    return std::string(reinterpret_cast<const char*>(&header), sizeof header) +
           std::string(reinterpret_cast<const char*>(&segment), sizeof segment);
  }

  void ExpectRefused(const std::string& path, int status, const std::string& why) {
    const auto found = FindProgram(path);
    ASSERT_FALSE(found) << path;
    EXPECT_EQ(found.error().exit_status, status);
    EXPECT_NE(found.error().message.find(why), std::string::npos) << found.error().message;
  }

  std::filesystem::path folder_;
};

TEST_F(ProgramTest, FindsWhatIsInThePath) {
  const auto found = FindProgram("sh");
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_TRUE(found->ends_with("/sh"));
}

TEST_F(ProgramTest, MissesWhatIsNot) {
  ExpectRefused("no-such-program", kExitNotFound, "not found");
  ExpectRefused("/nonexistent/program", kExitNotFound, "No such file");
}

TEST_F(ProgramTest, TakesDynamicProgramsAndScripts) {
  EXPECT_TRUE(FindProgram(Make(Elf(PT_INTERP))));
  EXPECT_TRUE(FindProgram(Make("#! /bin/sh -e\nexit 0\n")));
}

TEST_F(ProgramTest, RefusesStaticPrograms) {
  ExpectRefused(Make(Elf(PT_LOAD)), kExitCannotExecute, "statically linked");
}

TEST_F(ProgramTest, RefusesProgramsOfOtherMachines) {
  ExpectRefused(Make(Elf(PT_INTERP, ELFCLASS32)), kExitCannotExecute, "another machine");
}

TEST_F(ProgramTest, RefusesWhatGivesRights) {
  const std::string path = Make(Elf(PT_INTERP));
  if (::chown(path.c_str(), 12345, 12345) != 0) GTEST_SKIP() << "only root can give files away";
  ::chmod(path.c_str(), 04755);
  ExpectRefused(path, kExitCannotExecute, "setuid");
}

TEST_F(ProgramTest, RefusesWhatCannotBeExecuted) {
  ExpectRefused(Make("text", 0644), kExitCannotExecute, "Permission denied");
  ExpectRefused(folder_.string(), kExitCannotExecute, "not a regular file");
}

TEST_F(ProgramTest, LooksAtTheInterpreterOfAScript) {
  const std::string interpreter = Make(Elf(PT_LOAD));
  const std::string script = folder_ / "script";
  std::ofstream(script) << "#!" << interpreter << "\n";
  ::chmod(script.c_str(), 0755);
  ExpectRefused(script, kExitCannotExecute, "statically linked");
  std::ofstream(script) << "#!" << script << "\n";
  ExpectRefused(script, kExitCannotExecute, "too many interpreters");
}

}  // namespace
}  // namespace tmem::run
