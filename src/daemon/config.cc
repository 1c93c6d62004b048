#include "daemon/config.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <system_error>

#include "daemon/knobs.h"

namespace tmem::daemon {

namespace {

constexpr std::string_view kGuestSections = "guest";

// Nullopt for kinds of value that no knob takes: tables, floats, dates, mixed lists.
std::optional<KnobValue> ValueOf(const toml::node& node) {
  if (const auto* boolean = node.as_boolean()) return boolean->get();
  if (const auto* number = node.as_integer()) return number->get();
  if (const auto* text = node.as_string()) return text->get();
  const toml::array* const list = node.as_array();
  if (list == nullptr) return std::nullopt;
  std::vector<std::string> words;
  for (const toml::node& element : *list) {
    if (!element.is_string()) return std::nullopt;
    words.push_back(element.as_string()->get());
  }
  return words;
}

// Walks one file's tables into a Config. Stops at the first mistake.
class Reader {
 public:
  Reader(const std::string& file, Config& config) : file_(file), config_(config) {}

  Result<void> ReadTop(const toml::table& top) {
    for (const auto& [key, node] : top) {
      if (key == kGuestSections) {
        TMEM_TRY(ReadGuests(node));
      } else if (const toml::table* section = node.as_table()) {
        TMEM_TRY(ReadSection(key.str(), *section));
      } else {
        TMEM_TRY(ReadKnob(std::string(key.str()), node));
      }
    }
    return {};
  }

  // After overrides: what depends on several knobs at once.
  Result<void> CheckTogether() const {
    if (auto valid = config_.guest_defaults.Validate(); !valid) {
      return std::unexpected(
          std::move(valid).error().Within(fmt::format("{}: [{}]", file_, kGuestDefaults)));
    }
    for (const auto& [guest, changes] : config_.guests) {
      auto settings = WithChanges(config_.guest_defaults, changes);
      if (settings) continue;
      const std::string place =
          fmt::format("{}:{}: [guest.\"{}\"]", file_, lines_.at(guest), guest);
      return std::unexpected(std::move(settings).error().Within(place));
    }
    if (config_.max_capacity != Bytes(0) && config_.max_capacity < config_.capacity) {
      return Fail(
          ErrorCode::kInvalid,
          fmt::format("{}: max-capacity ({}) is below capacity ({}); raise it, or set it "
                      "to 0 for four times the capacity",
                      file_, FormatBytes(config_.max_capacity), FormatBytes(config_.capacity)));
    }
    return {};
  }

 private:
  std::unexpected<Error> Wrong(const toml::source_region& where, std::string_view message) const {
    return Fail(ErrorCode::kInvalid, fmt::format("{}:{}: {}", file_, where.begin.line, message));
  }

  static std::string WrongKind(std::string_view name) {
    return fmt::format("{}: no setting takes this kind of value; see tmemd --help-config", name);
  }

  Result<void> ReadSection(std::string_view section, const toml::table& table) {
    for (const auto& [key, node] : table) {
      TMEM_TRY(ReadKnob(fmt::format("{}.{}", section, key.str()), node));
    }
    return {};
  }

  Result<void> ReadKnob(const std::string& name, const toml::node& node) {
    const auto value = ValueOf(node);
    if (!value) return Wrong(node.source(), WrongKind(name));
    if (const auto set = SetKnob(config_, name, *value); !set) {
      return Wrong(node.source(), set.error().message);
    }
    return {};
  }

  Result<void> ReadGuests(const toml::node& node) {
    constexpr std::string_view kAllowed =
        "guest: write a section for each guest, as in [guest.\"db1\"]";
    const toml::table* const guests = node.as_table();
    if (guests == nullptr) return Wrong(node.source(), kAllowed);
    for (const auto& [key, section] : *guests) {
      if (!section.is_table()) return Wrong(section.source(), kAllowed);
      TMEM_TRY(ReadGuest(std::string(key.str()), *section.as_table()));
    }
    return {};
  }

  Result<void> ReadGuest(const std::string& guest, const toml::table& section) {
    const std::string place = fmt::format("guest.\"{}\"", guest);
    // A uuid in any spelling is one key.
    const auto uuid = Uuid::Parse(guest);
    const std::string key = uuid ? uuid->ToString() : guest;
    if (!lines_.emplace(key, section.source().begin.line).second) {
      return Wrong(section.source(), fmt::format("{}: the guest has two sections", place));
    }
    SettingChanges& changes = config_.guests[key];
    for (const auto& [name, node] : section) {
      const auto value = ValueOf(node);
      if (!value) return Wrong(node.source(), WrongKind(fmt::format("{}.{}", place, name.str())));
      if (const auto added = AddChange(changes, std::string(name.str()), *value); !added) {
        return Wrong(node.source(), fmt::format("{}: {}", place, added.error().message));
      }
    }
    return {};
  }

  const std::string& file_;
  Config& config_;
  std::map<std::string, toml::source_index> lines_;  // of guests' sections
};

}  // namespace

Result<Config> ParseConfig(std::string_view text, const std::string& file,
                           const ConfigSource& source) {
  Config config;
  Reader reader(file, config);
  try {
    TMEM_TRY(reader.ReadTop(toml::parse(text)));
  } catch (const toml::parse_error& error) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("{}:{}: {}", file, error.source().begin.line, error.description()));
  }
  for (const auto& [name, value] : source.overrides) {
    TMEM_TRY(SetKnob(config, name, value));
  }
  TMEM_TRY(reader.CheckTogether());
  return config;
}

Result<Config> LoadConfig(const ConfigSource& source) {
  std::ifstream file(source.path);
  if (!file) {
    const int error = errno;
    if (error == ENOENT && !source.must_exist) return ParseConfig("", source.path, source);
    return std::unexpected(SystemError(source.path, error));
  }
  if (std::error_code ignored; std::filesystem::is_directory(source.path, ignored)) {
    return std::unexpected(SystemError(source.path, EISDIR));
  }
  std::ostringstream text;
  text << file.rdbuf();
  if (text.bad()) return Fail(ErrorCode::kSystem, fmt::format("{}: cannot be read", source.path));
  return ParseConfig(text.str(), source.path, source);
}

}  // namespace tmem::daemon
