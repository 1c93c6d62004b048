#include "daemon/guest_files.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "daemon/text_file.h"
#include "daemon/toml_value.h"

namespace tmem::daemon {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".toml";
constexpr size_t kMaxName = 200;  // of a file's 255 bytes, with room for the suffix
constexpr mode_t kFolderMode = 0755;

// A piece of a text: bytes [begin, end).
struct Piece {
  size_t begin = 0;
  size_t end = 0;
};

// The first byte of a line, counted from 1, or the text's end.
size_t StartOfLine(std::string_view text, size_t line) {
  size_t at = 0;
  for (size_t i = 1; i < line; ++i) {
    const size_t newline = text.find('\n', at);
    if (newline == std::string_view::npos) return text.size();
    at = newline + 1;
  }
  return at;
}

size_t Offset(std::string_view text, const toml::source_position& position) {
  return std::min(StartOfLine(text, position.line) + position.column - 1, text.size());
}

// What is to be put in whose place; pieces do not overlap.
using Replacements = std::vector<std::pair<Piece, std::string>>;

std::string Replaced(std::string text, Replacements replacements) {
  // From the back, so that the offsets of those in front stay right.
  std::ranges::sort(replacements,
                    [](const auto& a, const auto& b) { return a.first.begin > b.first.begin; });
  for (const auto& [piece, with] : replacements) {
    text.replace(piece.begin, piece.end - piece.begin, with);
  }
  return text;
}

Result<void> MakeFolder(const std::string& folder) {
  if (::mkdir(folder.c_str(), kFolderMode) == 0) {
    if (::chmod(folder.c_str(), kFolderMode) == 0) return {};
  } else if (errno == EEXIST) {
    return {};
  }
  return std::unexpected(SystemError(folder));
}

}  // namespace

std::string GuestFolderOf(const std::string& config_path) {
  return (fs::path(config_path).parent_path() / "guests.d").string();
}

Result<SettingChanges> ParseGuestFile(std::string_view text, const std::string& file) {
  const auto table = ParseToml(text, file);
  if (!table) return std::unexpected(table.error());
  SettingChanges changes;
  TMEM_TRY(AddChanges(changes, *table, file, ""));
  return changes;
}

Result<std::map<std::string, SettingChanges>> ReadGuestFiles(const std::string& folder) {
  std::map<std::string, SettingChanges> guests;
  std::error_code error;
  fs::directory_iterator files(folder, error);
  if (error) {
    if (error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory) {
      return guests;
    }
    return std::unexpected(SystemError(folder, error.value()));
  }
  for (; files != fs::directory_iterator(); files.increment(error)) {
    const fs::path& path = files->path();
    if (path.extension() != kSuffix || path.stem().string().starts_with('.')) continue;
    const auto text = ReadTextFile(path);
    if (!text) return std::unexpected(text.error());
    auto changes = ParseGuestFile(*text, path);
    if (!changes) return std::unexpected(std::move(changes).error());
    const std::string name = path.stem();
    if (const auto uuid = Uuid::Parse(name); uuid && uuid->ToString() != name) {
      return Fail(ErrorCode::kInvalid,
                  fmt::format("{}: name this file {}{}", path.string(), uuid->ToString(), kSuffix));
    }
    guests.emplace(name, *std::move(changes));
  }
  if (error) return std::unexpected(SystemError(folder, error.value()));
  return guests;
}

Result<std::string> EditGuestFile(const std::string& text, const SettingEdits& edits) {
  const std::string file = "the guest's file";
  const auto table = ParseToml(text, file);
  if (!table) return std::unexpected(table.error());
  const auto before = ParseGuestFile(text, file);
  if (!before) return std::unexpected(before.error());

  Replacements replacements;
  std::string appended;
  for (const auto& [name, value] : edits.changes) {
    if (const toml::node* const node = table->get(name)) {
      const auto& where = node->source();
      replacements.push_back({{Offset(text, where.begin), Offset(text, where.end)}, ToToml(value)});
    } else {
      appended += fmt::format("{} = {}\n", TomlKey(name), ToToml(value));
    }
  }
  for (const auto& [key, node] : *table) {
    if (!IsUndone(edits, key.str())) continue;
    // Whole lines, with the comments that stand on them.
    replacements.push_back({{StartOfLine(text, key.source().begin.line),
                             StartOfLine(text, node.source().end.line + 1)},
                            ""});
  }
  std::string after = Replaced(text, std::move(replacements));
  if (!after.empty() && !after.ends_with('\n')) after += '\n';
  after += appended;

  const auto result = ParseGuestFile(after, file);
  if (!result || *result != Edited(*before, edits)) {
    return Fail(ErrorCode::kInvalid,
                "the guest's file is written in a way that cannot be changed from here; edit it");
  }
  return after;
}

bool NamesAFile(std::string_view name) {
  constexpr std::string_view kAllowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-+ ";
  return !name.empty() && name.size() <= kMaxName && !name.starts_with('.') &&
         name.find_first_not_of(kAllowed) == std::string_view::npos;
}

Result<SettingChanges> WriteGuestFile(const std::string& folder, const std::string& name,
                                      const SettingEdits& edits) {
  if (!NamesAFile(name)) {
    return Fail(ErrorCode::kInvalid, fmt::format("no file can be named after guest '{}'", name));
  }
  const std::string path = fmt::format("{}/{}{}", folder, name, kSuffix);
  auto before = ReadTextFile(path);
  if (!before && before.error().code == ErrorCode::kNotFound) before = "";
  if (!before) return std::unexpected(before.error());
  auto after = EditGuestFile(*before, edits);
  if (!after) return std::unexpected(std::move(after).error().Within(path));
  TMEM_TRY(MakeFolder(folder));
  TMEM_TRY(ReplaceTextFile(path, *after));
  return ParseGuestFile(*after, path);
}

}  // namespace tmem::daemon
