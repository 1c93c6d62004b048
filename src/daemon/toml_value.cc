#include "daemon/toml_value.h"

#include <fmt/format.h>

#include <vector>

#include "daemon/knobs.h"

namespace tmem::daemon {

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

std::unexpected<Error> WrongAt(const std::string& file, const toml::source_region& where,
                               std::string_view message) {
  return Fail(ErrorCode::kInvalid, fmt::format("{}:{}: {}", file, where.begin.line, message));
}

Result<void> AddChanges(SettingChanges& changes, const toml::table& settings,
                        const std::string& file, std::string_view place) {
  for (const auto& [name, node] : settings) {
    const auto value = ValueOf(node);
    if (!value) {
      return WrongAt(file, node.source(),
                     fmt::format("{}{}: no setting takes this kind of value; see tmemd "
                                 "--help-config",
                                 place, name.str()));
    }
    if (const auto added = AddChange(changes, std::string(name.str()), *value); !added) {
      return WrongAt(file, node.source(), fmt::format("{}{}", place, added.error().message));
    }
  }
  return {};
}

Result<toml::table> ParseToml(std::string_view text, const std::string& file) {
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    return WrongAt(file, error.source(), error.description());
  }
}

}  // namespace tmem::daemon
