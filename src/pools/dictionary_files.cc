#include "pools/dictionary_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace tmem {

namespace {

// OWNER-ID, in decimal.
std::string NameOf(KeyspaceId owner, DictionaryId id) { return fmt::format("{}-{}", owner, id); }

// Absent: none of ours, or one that was not finished.
std::optional<KeyspaceId> OwnerOf(std::string_view name) {
  KeyspaceId owner = 0;
  const auto [rest, status] = std::from_chars(name.data(), name.data() + name.size(), owner);
  if (status != std::errc()) return std::nullopt;
  const std::string_view id(rest, name.data() + name.size());
  const bool is_id = id.size() > 1 && id[0] == '-' &&
                     id.substr(1).find_first_not_of("0123456789") == std::string_view::npos;
  return is_id ? std::optional(owner) : std::nullopt;
}

std::vector<std::string> NamesIn(const UniqueFd& folder) {
  std::vector<std::string> names;
  if (!folder) return names;
  const int listed = openat(folder.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(listed < 0 ? nullptr : fdopendir(listed),
                                                   &closedir);
  if (stream == nullptr) return names;
  while (const dirent* const entry = readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  return names;
}

std::optional<std::vector<std::byte>> ReadFile(int folder, const std::string& name) {
  const UniqueFd file(openat(folder, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat status;
  if (!file || fstat(file.get(), &status) != 0) return std::nullopt;
  std::vector<std::byte> bytes(static_cast<size_t>(status.st_size));
  if (read(file.get(), bytes.data(), bytes.size()) != status.st_size) return std::nullopt;
  return bytes;
}

}  // namespace

std::vector<std::vector<std::byte>> DictionaryFiles::Read(KeyspaceId owner) const {
  std::vector<std::vector<std::byte>> images;
  for (const std::string& name : NamesIn(folder_)) {
    if (OwnerOf(name) != owner) continue;
    if (auto image = ReadFile(folder_.get(), name)) images.push_back(*std::move(image));
  }
  return images;
}

Result<void> DictionaryFiles::Write(KeyspaceId owner, DictionaryId id,
                                    std::span<const std::byte> image) const {
  if (!folder_) return {};
  const std::string name = NameOf(owner, id);
  const std::string unfinished = name + ".new";
  const UniqueFd file(openat(folder_.get(), unfinished.c_str(),
                             O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file && write(file.get(), image.data(), image.size()) == static_cast<ssize_t>(image.size()) &&
      renameat(folder_.get(), unfinished.c_str(), folder_.get(), name.c_str()) == 0) {
    return {};
  }
  auto error = SystemError("cannot write a dictionary into the store's folder");
  unlinkat(folder_.get(), unfinished.c_str(), 0);
  return std::unexpected(std::move(error));
}

void DictionaryFiles::Remove(KeyspaceId owner) const {
  for (const std::string& name : NamesIn(folder_)) {
    if (OwnerOf(name) == owner) unlinkat(folder_.get(), name.c_str(), 0);
  }
}

void DictionaryFiles::RemoveAllBut(const std::set<KeyspaceId>& owners) const {
  for (const std::string& name : NamesIn(folder_)) {
    const auto owner = OwnerOf(name);
    if (!owner || !owners.contains(*owner)) unlinkat(folder_.get(), name.c_str(), 0);
  }
}

}  // namespace tmem
