#include "daemon/control_handler.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "daemon/control_protocol.h"
#include "daemon/knobs.h"
#include "daemon/version.h"

namespace tmem::daemon {

namespace {

std::string_view NameOf(ErrorCode code) {
  const auto* const at =
      std::ranges::find(kErrorCodeNames, code, &decltype(kErrorCodeNames)::value_type::first);
  return at->second;
}

std::string Line(Json answer) {
  // Text that is no UTF-8 (a guest's name) is sent with marks in place of what cannot be.
  return answer.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string ErrorLine(const Error& error) {
  return Line(
      {{field::kVersion, kControlVersion},
       {field::kOk, false},
       {field::kError, {{field::kCode, NameOf(error.code)}, {field::kMessage, error.message}}}});
}

template <class Type>
Result<Type> Read(const Json& request, std::string_view name, bool (Json::*is)() const noexcept,
                  std::string_view what) {
  const auto at = request.find(name);
  if (at == request.end() || !((*at).*is)()) {
    return Fail(ErrorCode::kInvalid, fmt::format("field '{}' must be {}", name, what));
  }
  return at->get<Type>();
}

Result<std::string> ReadText(const Json& request, std::string_view name) {
  return Read<std::string>(request, name, &Json::is_string, "a string");
}

// Nullopt for kinds of value that no setting takes.
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

Result<SettingChanges> ReadSettings(const Json& request) {
  const auto at = request.find(field::kSettings);
  if (at == request.end() || !at->is_object() || at->empty()) {
    return Fail(
        ErrorCode::kInvalid,
        fmt::format("field '{}' must be an object with at least one setting", field::kSettings));
  }
  SettingChanges changes;
  for (const auto& [name, json] : at->items()) {
    const auto value = ValueOf(json);
    if (!value) {
      return Fail(ErrorCode::kInvalid,
                  fmt::format("{}: no setting takes this kind of value", name));
    }
    TMEM_TRY(AddChange(changes, name, *value));
  }
  return changes;
}

}  // namespace

struct ControlHandler::VerbEntry {
  std::string_view name;
  Verb verb;
  std::vector<std::string_view> fields;  // besides version and verb
};

const ControlHandler::VerbEntry* ControlHandler::FindVerb(std::string_view name) {
  static const std::array<VerbEntry, 12> kVerbs = {{
      {verb::kVersion, &ControlHandler::TellVersion, {}},
      {verb::kList, &ControlHandler::List, {}},
      {verb::kShow, &ControlHandler::Show, {field::kGuest}},
      {verb::kStats, &ControlHandler::Stats, {field::kGuest}},
      {verb::kSet, &ControlHandler::Set, {field::kGuest, field::kSettings}},
      {verb::kFreeze, &ControlHandler::Freeze, {field::kGuest}},
      {verb::kThaw, &ControlHandler::Thaw, {field::kGuest}},
      {verb::kFlush, &ControlHandler::Flush, {field::kGuest}},
      {verb::kAuth, &ControlHandler::Authorize, {field::kGuest, field::kUuid, field::kAllow}},
      {verb::kCapacity, &ControlHandler::SetCapacity, {field::kCapacity}},
      {verb::kForgive, &ControlHandler::Forgive, {field::kGuest}},
      {verb::kLogLevel, &ControlHandler::SetLogLevel, {field::kLevel}},
  }};
  const auto* const at = std::ranges::find(kVerbs, name, &VerbEntry::name);
  return at == kVerbs.end() ? nullptr : at;
}

std::string ControlHandler::Handle(std::string_view request) {
  auto result = Execute(request);
  if (!result) return ErrorLine(result.error());
  return Line({{field::kVersion, kControlVersion},
               {field::kOk, true},
               {field::kResult, std::move(*result)}});
}

std::string ControlHandler::TooLong() {
  return ErrorLine(
      {ErrorCode::kInvalid, fmt::format("a request has at most {} bytes", kMaxRequestBytes)});
}

Result<Json> ControlHandler::Execute(std::string_view line) {
  const Json request = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!request.is_object()) {
    return Fail(ErrorCode::kInvalid, "a request is one JSON object on one line");
  }
  const auto version = request.find(field::kVersion);
  if (version == request.end() || *version != kControlVersion) {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("this tmemd speaks version {} of the control protocol; use the tmemctl "
                            "that came with it",
                            kControlVersion));
  }
  const auto name = ReadText(request, field::kVerb);
  if (!name) return std::unexpected(name.error());
  const VerbEntry* const entry = FindVerb(*name);
  if (entry == nullptr) {
    return Fail(ErrorCode::kUnsupported, fmt::format("there is no verb '{}'", *name));
  }
  for (const auto& [key, value] : request.items()) {
    const bool known = key == field::kVersion || key == field::kVerb ||
                       std::ranges::find(entry->fields, key) != entry->fields.end();
    if (!known) {
      return Fail(ErrorCode::kInvalid, fmt::format("verb '{}' has no field '{}'", *name, key));
    }
  }
  return (this->*entry->verb)(request);
}

Result<ConnectionInfo> ControlHandler::GuestOf(const Json& request) const {
  const auto wanted = ReadText(request, field::kGuest);
  if (!wanted) return std::unexpected(wanted.error());
  auto connection = administration_.Find(*wanted);
  if (!connection) {
    return Fail(ErrorCode::kNotFound,
                fmt::format("no guest '{}' is here; `tmemctl list` shows those that are", *wanted));
  }
  return std::move(*connection);
}

Result<std::vector<ConnectionInfo>> ControlHandler::GuestsOf(const Json& request) const {
  if (!request.contains(field::kGuest)) return administration_.Connections();
  auto connection = GuestOf(request);
  if (!connection) return std::unexpected(std::move(connection).error());
  return std::vector{std::move(*connection)};
}

Result<Json> ControlHandler::Details(const ConnectionInfo& connection) const {
  const auto stats = administration_.StatsOf(connection.guest.id);
  if (!stats) return std::unexpected(stats.error());
  return ToJson(connection, *stats);
}

Result<Json> ControlHandler::TellVersion(const Json&) {
  return Json{{"tmemd", Version()}, {"protocol", kControlVersion}};
}

Result<Json> ControlHandler::List(const Json&) {
  Json guests = Json::array();
  for (const ConnectionInfo& connection : administration_.Connections()) {
    // A guest that goes between the two calls is left out.
    if (auto details = Details(connection)) guests.push_back(std::move(*details));
  }
  return guests;
}

Result<Json> ControlHandler::Show(const Json& request) {
  const auto connection = GuestOf(request);
  if (!connection) return std::unexpected(connection.error());
  return Details(*connection);
}

Result<Json> ControlHandler::Stats(const Json& request) {
  if (request.contains(field::kGuest)) return Show(request);
  auto guests = List(request);
  return Json{{"host", ToJson(administration_.Host())}, {"guests", std::move(*guests)}};
}

Result<Json> ControlHandler::Set(const Json& request) {
  const auto connection = GuestOf(request);
  if (!connection) return std::unexpected(connection.error());
  const auto changes = ReadSettings(request);
  if (!changes) return std::unexpected(changes.error());
  const auto settings = administration_.Change(connection->guest, *changes);
  if (!settings) return std::unexpected(settings.error());
  return ToJson(*settings);
}

Result<Json> ControlHandler::Freeze(const Json& request) { return SetFrozen(request, true); }

Result<Json> ControlHandler::Thaw(const Json& request) { return SetFrozen(request, false); }

Result<Json> ControlHandler::SetFrozen(const Json& request, bool frozen) {
  const auto connections = GuestsOf(request);
  if (!connections) return std::unexpected(connections.error());
  for (const ConnectionInfo& connection : *connections) {
    const auto changed = administration_.Change(connection.guest, {{"frozen", frozen}});
    if (!changed) return std::unexpected(changed.error());
  }
  return Json{{"guests", connections->size()}};
}

Result<Json> ControlHandler::Flush(const Json& request) {
  const auto connections = GuestsOf(request);
  if (!connections) return std::unexpected(connections.error());
  Bytes freed{0};
  for (const ConnectionInfo& connection : *connections) {
    const auto bytes = administration_.Flush(connection.guest.id);
    if (!bytes) return std::unexpected(bytes.error());
    freed += *bytes;
  }
  return Json{{"guests", connections->size()}, {"freed_bytes", freed.value}};
}

Result<Json> ControlHandler::Authorize(const Json& request) {
  const auto connection = GuestOf(request);
  if (!connection) return std::unexpected(connection.error());
  const auto text = ReadText(request, field::kUuid);
  if (!text) return std::unexpected(text.error());
  const auto uuid = Uuid::Parse(*text);
  if (!uuid) return std::unexpected(uuid.error());
  const auto allow = Read<bool>(request, field::kAllow, &Json::is_boolean, "true or false");
  if (!allow) return std::unexpected(allow.error());

  const auto stats = administration_.StatsOf(connection->guest.id);
  if (!stats) return std::unexpected(stats.error());
  auto authorized = stats->settings.shared_auth;
  if (*allow) {
    authorized.insert(*uuid);
  } else {
    authorized.erase(*uuid);
  }
  std::vector<std::string> words;
  for (const Uuid& each : authorized) words.push_back(each.ToString());
  const auto settings = administration_.Change(connection->guest, {{"shared-auth", words}});
  if (!settings) return std::unexpected(settings.error());
  return ToJson(*settings);
}

Result<Json> ControlHandler::SetCapacity(const Json& request) {
  const auto at = request.find(field::kCapacity);
  const auto value = at == request.end() ? std::nullopt : ValueOf(*at);
  if (!value) {
    return Fail(ErrorCode::kInvalid, fmt::format("field '{}' must be a size", field::kCapacity));
  }
  // The knob knows what a capacity may be.
  Config wanted;
  TMEM_TRY(SetKnob(wanted, "capacity", *value));
  const auto capacity = administration_.SetCapacity(wanted.capacity);
  if (!capacity) return std::unexpected(capacity.error());
  return Json{{"capacity_bytes", capacity->value}};
}

Result<Json> ControlHandler::Forgive(const Json& request) {
  const auto connection = GuestOf(request);
  if (!connection) return std::unexpected(connection.error());
  TMEM_TRY(administration_.Forgive(connection->guest.id));
  return Json::object();
}

Result<Json> ControlHandler::SetLogLevel(const Json& request) {
  const auto text = ReadText(request, field::kLevel);
  if (!text) return std::unexpected(text.error());
  Config wanted;
  TMEM_TRY(SetKnob(wanted, "log-level", *text));
  administration_.SetLogLevel(wanted.log_level);
  return Json{{"level", ToString(wanted.log_level)}};
}

}  // namespace tmem::daemon
