#include "run/program.h"

#include <elf.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string_view>

#include "base/result.h"
#include "run/settings.h"

namespace tmem::run {

namespace {

constexpr int kMaxInterpreters = 4;  // as many as the kernel follows

std::unexpected<ProgramError> CannotRun(const std::string& path, const std::string& why) {
  return std::unexpected(ProgramError{kExitCannotExecute, path + ": " + why});
}

std::expected<std::string, ProgramError> LookUp(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    if (::access(name.c_str(), F_OK) == 0) return name;
    return std::unexpected(ProgramError{kExitNotFound, SystemError(name).message});
  }
  const char* const variable = std::getenv("PATH");
  std::istringstream path(variable != nullptr ? variable : "/usr/local/bin:/usr/bin:/bin");
  for (std::string directory; std::getline(path, directory, ':');) {
    std::string candidate = (directory.empty() ? "." : directory) + "/" + name;
    struct stat status;
    if (::stat(candidate.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
        ::access(candidate.c_str(), X_OK) == 0) {
      return candidate;
    }
  }
  return std::unexpected(ProgramError{kExitNotFound, name + ": not found in $PATH"});
}

bool GivesRights(const std::string& path, const struct stat& status) {
  if (status.st_mode & S_ISUID && status.st_uid != ::getuid()) return true;
  if (status.st_mode & S_ISGID && status.st_gid != ::getgid()) return true;
  return ::getuid() != 0 && ::getxattr(path.c_str(), "security.capability", nullptr, 0) > 0;
}

// Whether the ELF file that starts with `header` asks for the dynamic linker.
bool IsDynamic(std::ifstream& file, const Elf64_Ehdr& header) {
  for (unsigned k = 0; k < header.e_phnum; ++k) {
    Elf64_Phdr segment{};
    file.seekg(static_cast<std::streamoff>(header.e_phoff + k * header.e_phentsize));
    if (!file.read(reinterpret_cast<char*>(&segment), sizeof segment)) return false;
    if (segment.p_type == PT_INTERP) return true;
  }
  return false;
}

// The program after "#!" in `line`.
std::string InterpreterOf(const std::string& line) {
  std::istringstream words(line.substr(2));
  std::string interpreter;
  words >> interpreter;
  return interpreter;
}

std::expected<void, ProgramError> Check(const std::string& path, int interpreters) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) return CannotRun(path, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) return CannotRun(path, "not a regular file");
  if (::access(path.c_str(), X_OK) != 0) return CannotRun(path, std::strerror(errno));
  if (GivesRights(path, status)) {
    return CannotRun(path,
                     "is setuid, setgid or has file capabilities: the system keeps tmemrun out of "
                     "such programs; run it as the user it becomes");
  }
  std::ifstream file(path, std::ios::binary);
  Elf64_Ehdr header{};
  file.read(reinterpret_cast<char*>(&header), sizeof header);
  if (std::memcmp(&header, "#!", 2) == 0) {
    if (interpreters == 0) return CannotRun(path, "too many interpreters");
    file.clear();
    file.seekg(0);
    std::string line;
    std::getline(file, line);
    return Check(InterpreterOf(line), interpreters - 1);
  }
  // Unreadable, or a script without "#!": the kernel or the shell decides.
  if (!file || std::memcmp(&header, ELFMAG, SELFMAG) != 0) return {};
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64) {
    return CannotRun(path, "is for another machine than tmemrun, which is for x86-64");
  }
  if (!IsDynamic(file, header)) {
    return CannotRun(path,
                     "is statically linked: tmemrun reaches dynamically linked programs only");
  }
  return {};
}

}  // namespace

std::expected<std::string, ProgramError> FindProgram(const std::string& name) {
  auto path = LookUp(name);
  if (!path) return path;
  if (const auto checked = Check(*path, kMaxInterpreters); !checked) {
    return std::unexpected(checked.error());
  }
  return path;
}

}  // namespace tmem::run
