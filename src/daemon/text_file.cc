#include "daemon/text_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "base/unique_fd.h"

namespace tmem::daemon {

namespace {

constexpr mode_t kFileMode = 0644;
constexpr size_t kReadBytes = 16 << 10;

Result<void> WriteAndSync(const std::string& path, std::string_view text) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, kFileMode));
  if (!fd) return std::unexpected(SystemError(path));
  while (!text.empty()) {
    const ssize_t written = ::write(fd.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return std::unexpected(SystemError(path));
    text.remove_prefix(static_cast<size_t>(written));
  }
  if (::fchmod(fd.get(), kFileMode) != 0 || ::fsync(fd.get()) != 0) {
    return std::unexpected(SystemError(path));
  }
  return {};
}

}  // namespace

Result<std::string> ReadTextFile(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return std::unexpected(SystemError(path));
  std::string text;
  std::array<char, kReadBytes> piece;
  while (true) {
    const ssize_t bytes = ::read(fd.get(), piece.data(), piece.size());
    if (bytes == 0) return text;
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) return std::unexpected(SystemError(path));
    text.append(piece.data(), static_cast<size_t>(bytes));
  }
}

Result<void> ReplaceTextFile(const std::string& path, std::string_view text) {
  const std::string fresh = path + ".new";
  if (auto written = WriteAndSync(fresh, text); !written) {
    ::unlink(fresh.c_str());
    return written;
  }
  if (::rename(fresh.c_str(), path.c_str()) != 0) {
    Error error = SystemError(path);
    ::unlink(fresh.c_str());
    return std::unexpected(std::move(error));
  }
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const UniqueFd folder_fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder_fd || ::fsync(folder_fd.get()) != 0) return std::unexpected(SystemError(folder));
  return {};
}

}  // namespace tmem::daemon
