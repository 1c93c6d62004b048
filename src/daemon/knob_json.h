// Settings' values as JSON. Private to those that speak it.
#ifndef TMEM_DAEMON_KNOB_JSON_H_
#define TMEM_DAEMON_KNOB_JSON_H_

#include <nlohmann/json.hpp>
#include <optional>

#include "daemon/config.h"

namespace tmem::daemon {

nlohmann::ordered_json ToJson(const KnobValue& value);
// Nullopt for kinds of value that no knob takes.
std::optional<KnobValue> ValueOf(const nlohmann::ordered_json& json);

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_KNOB_JSON_H_
