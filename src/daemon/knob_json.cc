#include "daemon/knob_json.h"

#include <string>
#include <utility>
#include <vector>

namespace tmem::daemon {

using Json = nlohmann::ordered_json;

Json ToJson(const KnobValue& value) {
  return std::visit([](const auto& plain) { return Json(plain); }, value);
}

std::optional<KnobValue> ValueOf(const Json& json) {
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_unsigned()) {
    const auto number = json.get<uint64_t>();
    return number <= INT64_MAX ? std::optional<KnobValue>(static_cast<int64_t>(number))
                               : std::nullopt;
  }
  if (json.is_number_integer()) return json.get<int64_t>();
  if (json.is_string()) return json.get<std::string>();
  if (!json.is_array()) return std::nullopt;
  std::vector<std::string> words;
  for (const Json& element : json) {
    if (!element.is_string()) return std::nullopt;
    words.push_back(element.get<std::string>());
  }
  return words;
}

}  // namespace tmem::daemon
