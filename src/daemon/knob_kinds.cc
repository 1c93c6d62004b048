#include "daemon/knob_kinds.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "pools/settings.h"

namespace tmem::daemon::kinds {

namespace {

constexpr std::string_view kAuto = "auto";
constexpr size_t kMaxFolderPath = 4096;  // PATH_MAX, the final NUL included
constexpr size_t kMaxSocketPath = 107;   // sizeof(sockaddr_un::sun_path) less the final NUL

std::optional<int64_t> ReadInteger(const KnobValue& value, int base = 10) {
  if (const auto* number = std::get_if<int64_t>(&value)) return *number;
  const auto* text = std::get_if<std::string>(&value);
  if (text == nullptr) return std::nullopt;
  int64_t number = 0;
  const char* const end = text->data() + text->size();
  const auto [rest, status] = std::from_chars(text->data(), end, number, base);
  if (status != std::errc() || rest != end) return std::nullopt;
  return number;
}

bool IsPlainText(std::string_view text) {
  return std::ranges::all_of(text, [](unsigned char c) { return c >= 0x20 && c != 0x7f; });
}

std::vector<std::string> SplitAtCommas(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    words.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return words;
}

}  // namespace

template <class T>
std::optional<T> Number<T>::Read(const KnobValue& value) const {
  const auto number = ReadInteger(value);
  if (!number || *number < int64_t{min} || *number > int64_t{max}) return std::nullopt;
  return static_cast<T>(*number);
}

template <class T>
std::string Number<T>::Allowed() const {
  return fmt::format("a whole number from {} to {}", min, max);
}

template struct Number<int>;
template struct Number<uint32_t>;

std::optional<Bytes> Size::Read(const KnobValue& value) const {
  std::optional<Bytes> bytes;
  if (const auto* number = std::get_if<int64_t>(&value)) {
    if (*number >= 0) bytes = Bytes(static_cast<uint64_t>(*number));
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    if (const auto parsed = ParseBytes(*text)) bytes = *parsed;
  }
  if (bytes == kUnlimited && !may_be_unlimited) return std::nullopt;
  if (bytes && (*bytes < min || *bytes > max)) return std::nullopt;
  return bytes;
}

KnobValue Size::Write(Bytes value) {
  if (value == Bytes(0)) return int64_t{0};
  return FormatBytes(value);
}

std::string Size::Allowed() const {
  std::string allowed = "a size in bytes or with K, M, G or T, as in \"64M\"";
  if (min != Bytes(0)) allowed += fmt::format(", at least {}", FormatBytes(min));
  if (max != kUnlimited) allowed += fmt::format(", at most {}", FormatBytes(max));
  if (may_be_unlimited) allowed += ", or \"unlimited\"";
  if (!zero.empty()) allowed += fmt::format("; 0: {}", zero);
  return allowed;
}

std::optional<std::optional<Bytes>> SizeOrAuto::Read(const KnobValue& value) const {
  if (value == KnobValue(std::string(kAuto))) return std::optional<Bytes>();
  const auto read = size.Read(value);
  if (!read) return std::nullopt;
  return std::optional<std::optional<Bytes>>(std::in_place, read);
}

KnobValue SizeOrAuto::Write(std::optional<Bytes> value) {
  return value ? Size::Write(*value) : std::string(kAuto);
}

std::string SizeOrAuto::Allowed() const {
  return fmt::format("{}; or \"{}\"", size.Allowed(), kAuto);
}

std::optional<bool> Boolean::Read(const KnobValue& value) {
  if (const bool* boolean = std::get_if<bool>(&value)) return *boolean;
  if (const auto* text = std::get_if<std::string>(&value)) {
    if (*text == "true" || *text == "1") return true;
    if (*text == "false" || *text == "0") return false;
  }
  return std::nullopt;
}

template <class Enum>
std::optional<Enum> Choice<Enum>::Read(const KnobValue& value) const {
  const auto* text = std::get_if<std::string>(&value);
  if (text == nullptr) return std::nullopt;
  const auto at = std::ranges::find(names, *text);
  if (at == names.end()) return std::nullopt;
  return static_cast<Enum>(at - names.begin());
}

template <class Enum>
std::string Choice<Enum>::Allowed() const {
  return fmt::format("one of \"{}\"", fmt::join(names, "\", \""));
}

template struct Choice<HypervisorKind>;
template struct Choice<LogLevel>;
template struct Choice<PolicyKind>;
template struct Choice<CompressMode>;

std::optional<mode_t> Mode::Read(const KnobValue& value) {
  if (!std::holds_alternative<std::string>(value)) return std::nullopt;
  const auto bits = ReadInteger(value, 8);
  if (!bits || *bits < 0 || *bits > 0777) return std::nullopt;
  return static_cast<mode_t>(*bits);
}

KnobValue Mode::Write(mode_t value) { return fmt::format("{:04o}", value); }

std::string Mode::Allowed() {
  return "permission bits as a string of octal digits up to 0777, as in \"0660\"";
}

std::optional<std::string> SocketPath::Read(const KnobValue& value) {
  const auto* text = std::get_if<std::string>(&value);
  const bool good = text != nullptr && text->starts_with('/') && !text->ends_with('/') &&
                    text->size() <= kMaxSocketPath && IsPlainText(*text);
  return good ? std::optional(*text) : std::nullopt;
}

std::string SocketPath::Allowed() {
  return fmt::format("an absolute path of at most {} bytes", kMaxSocketPath);
}

std::optional<std::string> Folder::Read(const KnobValue& value) {
  const auto* text = std::get_if<std::string>(&value);
  const bool good = text != nullptr && (text->empty() || text->starts_with('/')) && *text != "/" &&
                    text->size() < kMaxFolderPath && IsPlainText(*text);
  return good ? std::optional(*text) : std::nullopt;
}

std::string Folder::Allowed() { return "the absolute path of a folder, or \"\""; }

// No ::1: Debian builds the library that speaks HTTP without IPv6.
constexpr std::string_view kLoopbackHost = "127.0.0.1:";

std::optional<std::string> LoopbackAddress::Read(const KnobValue& value) {
  const auto* text = std::get_if<std::string>(&value);
  if (text == nullptr) return std::nullopt;
  if (text->empty()) return *text;
  if (!text->starts_with(kLoopbackHost)) return std::nullopt;
  const std::string digits = text->substr(kLoopbackHost.size());
  const auto port = ReadInteger(digits);
  const bool is_port = port && *port <= UINT16_MAX && !digits.starts_with('-');
  return is_port ? std::optional(*text) : std::nullopt;
}

std::string LoopbackAddress::Allowed() {
  return "\"127.0.0.1:PORT\" (port 0: any, told in the log), or \"\"";
}

std::optional<std::vector<std::string>> Words::Read(const KnobValue& value) {
  std::vector<std::string> words;
  if (const auto* list = std::get_if<std::vector<std::string>>(&value)) {
    words = *list;
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    words = SplitAtCommas(*text);
  } else {
    return std::nullopt;
  }
  const bool good = std::ranges::all_of(
      words, [](const std::string& word) { return !word.empty() && IsPlainText(word); });
  return good ? std::optional(std::move(words)) : std::nullopt;
}

std::string Words::Allowed() {
  return "a list of guests' names or uuids, as in [\"db1\", \"web\"], or [\"all\"]";
}

std::optional<std::set<Uuid>> Uuids::Read(const KnobValue& value) {
  const auto words = Words::Read(value);
  if (!words) return std::nullopt;
  std::set<Uuid> uuids;
  for (const std::string& word : *words) {
    const auto uuid = Uuid::Parse(word);
    if (!uuid) return std::nullopt;
    uuids.insert(*uuid);
  }
  return uuids;
}

KnobValue Uuids::Write(const std::set<Uuid>& value) {
  std::vector<std::string> words;
  words.reserve(value.size());
  for (const Uuid& uuid : value) words.push_back(uuid.ToString());
  return words;
}

std::string Uuids::Allowed() {
  return "a list of uuids, as in [\"b3f5c1ee-0c2e-4c52-9d5f-6a1d6c2f1a00\"]";
}

}  // namespace tmem::daemon::kinds
