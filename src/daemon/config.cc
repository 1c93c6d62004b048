#include "daemon/config.h"

#include <fmt/format.h>

#include "daemon/guest_files.h"
#include "daemon/knobs.h"
#include "daemon/text_file.h"
#include "daemon/toml_value.h"

namespace tmem::daemon {

namespace {

constexpr std::string_view kGuestSections = "guest";

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

  // After overrides: guests' settings as a whole.
  Result<void> CheckGuests() const {
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
    return {};
  }

 private:
  std::unexpected<Error> Wrong(const toml::source_region& where, std::string_view message) const {
    return WrongAt(file_, where, message);
  }

  Result<void> ReadSection(std::string_view section, const toml::table& table) {
    for (const auto& [key, node] : table) {
      TMEM_TRY(ReadKnob(fmt::format("{}.{}", section, key.str()), node));
    }
    return {};
  }

  Result<void> ReadKnob(const std::string& name, const toml::node& node) {
    const auto value = ValueOf(node);
    if (!value) {
      return Wrong(
          node.source(),
          fmt::format("{}: no setting takes this kind of value; see tmemd --help-config", name));
    }
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
    return AddChanges(config_.guests[key], section, file_, place + ": ");
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
  const auto table = ParseToml(text, file);
  if (!table) return std::unexpected(table.error());
  TMEM_TRY(reader.ReadTop(*table));
  for (const auto& [name, value] : source.overrides) {
    TMEM_TRY(SetKnob(config, name, value));
  }
  TMEM_TRY(reader.CheckGuests());
  if (auto valid = CheckTogether(config); !valid) {
    return std::unexpected(std::move(valid).error().Within(file));
  }
  return config;
}

namespace {

// The capacity is "auto".
Result<void> CheckFollowing(const Config& config) {
  if (config.max_capacity == Bytes(0)) {
    return Fail(
        ErrorCode::kInvalid,
        "capacity = \"auto\" needs a max-capacity: how far the store may grow; write it into "
        "the configuration and restart tmemd");
  }
  if (config.max_capacity < config.min_capacity) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("max-capacity ({}) is below min-capacity ({})",
                            FormatBytes(config.max_capacity), FormatBytes(config.min_capacity)));
  }
  return {};
}

}  // namespace

Result<void> CheckTogether(const Config& config) {
  if (!config.capacity) return CheckFollowing(config);
  if (config.max_capacity != Bytes(0) && config.max_capacity < *config.capacity) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("max-capacity ({}) is below capacity ({}); raise it, or set it to 0 "
                            "for four times the capacity",
                            FormatBytes(config.max_capacity), FormatBytes(*config.capacity)));
  }
  return {};
}

namespace {

Result<Config> LoadMainFile(const ConfigSource& source) {
  const auto text = ReadTextFile(source.path);
  if (!text && text.error().code == ErrorCode::kNotFound && !source.must_exist) {
    return ParseConfig("", source.path, source);
  }
  if (!text) return std::unexpected(text.error());
  return ParseConfig(*text, source.path, source);
}

// Each guest's file must be right over its section.
Result<void> CheckGuestFiles(const Config& config) {
  for (const auto& [guest, changes] : config.guest_files) {
    const auto section = config.guests.find(guest);
    const auto merged = section == config.guests.end() ? changes : Merged(section->second, changes);
    if (auto settings = WithChanges(config.guest_defaults, merged); !settings) {
      return std::unexpected(std::move(settings).error().Within(
          fmt::format("{}/{}.toml", config.guest_folder, guest)));
    }
  }
  return {};
}

}  // namespace

Result<Config> LoadConfig(const ConfigSource& source) {
  auto config = LoadMainFile(source);
  if (!config) return config;
  config->guest_folder = GuestFolderOf(source.path);
  TMEM_ASSIGN(config->guest_files, ReadGuestFiles(config->guest_folder));
  TMEM_TRY(CheckGuestFiles(*config));
  return config;
}

}  // namespace tmem::daemon
