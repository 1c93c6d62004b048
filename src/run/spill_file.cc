#include "run/spill_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/units.h"

namespace tmem::run {

namespace {

off_t OffsetOf(uint32_t slot) { return static_cast<off_t>(slot) * static_cast<off_t>(kPageSize); }

}  // namespace

Result<SpillFile> SpillFile::Create(const std::string& directory) {
  UniqueFd fd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!fd && (errno == EOPNOTSUPP || errno == EISDIR)) {
    std::string path = directory + "/tmemrun-XXXXXX";
    fd.Reset(::mkostemp(path.data(), O_CLOEXEC));
    if (fd) ::unlink(path.c_str());
  }
  if (!fd) return std::unexpected(SystemError("cannot create a spill file in " + directory));
  return SpillFile(std::move(fd));
}

std::optional<uint32_t> SpillFile::Write(const std::byte* page) {
  const bool reuse = !free_.empty();
  const uint32_t slot = reuse ? free_.back() : next_;
  if (::pwrite(fd_.get(), page, kPageSize, OffsetOf(slot)) != static_cast<ssize_t>(kPageSize)) {
    return std::nullopt;
  }
  if (reuse) {
    free_.pop_back();
  } else {
    ++next_;
  }
  return slot;
}

bool SpillFile::Read(uint32_t slot, std::byte* page) const {
  return ::pread(fd_.get(), page, kPageSize, OffsetOf(slot)) == static_cast<ssize_t>(kPageSize);
}

}  // namespace tmem::run
