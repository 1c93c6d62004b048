#include "daemon/instance_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

namespace tmem::daemon {

namespace {

constexpr mode_t kFolderMode = 0755;
constexpr mode_t kLockMode = 0600;

// False if the file was removed or replaced between our open and our lock.
bool IsStillThere(int fd, const std::string& path) {
  struct stat opened{};
  struct stat named{};
  return ::fstat(fd, &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

}  // namespace

Result<InstanceLock> InstanceLock::Take(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path();
  if (::mkdir(folder.c_str(), kFolderMode) != 0 && errno != EEXIST) {
    return std::unexpected(SystemError(fmt::format("cannot make the folder {}", folder)));
  }
  while (true) {
    UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kLockMode));
    if (!fd) return std::unexpected(SystemError(fmt::format("cannot make the file {}", path)));
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) return std::unexpected(SystemError(path));
      return Fail(ErrorCode::kExists, fmt::format("another tmemd holds {}", path));
    }
    if (IsStillThere(fd.get(), path)) return InstanceLock(path, std::move(fd));
  }
}

InstanceLock::~InstanceLock() {
  if (fd_) ::unlink(path_.c_str());
}

}  // namespace tmem::daemon
