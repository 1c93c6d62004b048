#include "daemon/control_handler.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "daemon/control_protocol.h"
#include "daemon/directory_tools.h"
#include "daemon/knob_json.h"
#include "daemon/knobs.h"
#include "daemon/version.h"

namespace tmem::daemon {

namespace {

constexpr auto kEphemeral = static_cast<size_t>(PageClass::kEphemeral);
constexpr auto kPersistent = static_cast<size_t>(PageClass::kPersistent);

std::string_view NameOf(ErrorCode code) {
  const auto* const at =
      std::ranges::find(kErrorCodeNames, code, &decltype(kErrorCodeNames)::value_type::first);
  return at->second;
}

std::string Line(const Json& answer) {
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

// `add` is AddEdit or AddHostEdit: it knows the names.
Result<SettingEdits> ReadSettings(const Json& request,
                                  Result<void> (&add)(SettingEdits&, const std::string&,
                                                      const KnobValue&)) {
  const auto at = request.find(field::kSettings);
  if (at == request.end() || !at->is_object() || at->empty()) {
    return Fail(
        ErrorCode::kInvalid,
        fmt::format("field '{}' must be an object with at least one setting", field::kSettings));
  }
  SettingEdits edits;
  for (const auto& [name, json] : at->items()) {
    const auto value = ValueOf(json);
    if (!value) {
      return Fail(ErrorCode::kInvalid,
                  fmt::format("{}: no setting takes this kind of value", name));
    }
    TMEM_TRY(add(edits, name, *value));
  }
  return edits;
}

// As the table of knobs reads a guest's reserve, which may be any size.
Result<Bytes> ReadSize(const Json& request, std::string_view name) {
  const auto at = request.find(name);
  const auto value = at == request.end() ? std::nullopt : ValueOf(*at);
  if (!value) return Fail(ErrorCode::kInvalid, fmt::format("field '{}' must be a size", name));
  GuestSettings settings;
  const auto reserve = std::ranges::find(GuestKnobs(), "reserve", &GuestKnob::name);
  if (auto read = reserve->set(settings, *value); !read) {
    return std::unexpected(std::move(read).error().Within(name));
  }
  return settings.reserve;
}

}  // namespace

struct ControlHandler::VerbEntry {
  std::string_view name;
  Verb verb;
  std::vector<std::string_view> fields;  // besides version and verb
};

const ControlHandler::VerbEntry* ControlHandler::FindVerb(std::string_view name) {
  static const std::array<VerbEntry, 18> kVerbs = {{
      {verb::kVersion, &ControlHandler::TellVersion, {}},
      {verb::kList, &ControlHandler::List, {}},
      {verb::kShow, &ControlHandler::Show, {field::kGuest}},
      {verb::kStats, &ControlHandler::Stats, {field::kGuest}},
      {verb::kExplain, &ControlHandler::Explain, {field::kGuest}},
      {verb::kHistory, &ControlHandler::TellHistory, {field::kGuest}},
      {verb::kSet, &ControlHandler::Set, {field::kGuest, field::kSettings, field::kPersist}},
      {verb::kFreeze, &ControlHandler::Freeze, {field::kGuest}},
      {verb::kThaw, &ControlHandler::Thaw, {field::kGuest}},
      {verb::kFlush, &ControlHandler::Flush, {field::kGuest}},
      {verb::kAuth, &ControlHandler::Authorize, {field::kGuest, field::kUuid, field::kAllow}},
      {verb::kFreeable, &ControlHandler::Freeable, {}},
      {verb::kReclaim, &ControlHandler::Reclaim, {field::kBytes}},
      {verb::kForgive, &ControlHandler::Forgive, {field::kGuest}},
      {verb::kXenstoreRead, &ControlHandler::XenstoreRead, {field::kPath}},
      {verb::kXenstoreWrite, &ControlHandler::XenstoreWrite, {field::kPath, field::kValue}},
      {verb::kXenstoreRemove, &ControlHandler::XenstoreRemove, {field::kPath}},
      {verb::kXenstoreList, &ControlHandler::XenstoreList, {field::kPath}},
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
  if (!request.contains(field::kGuest)) return ToJson(administration_.Host().config);
  const auto connection = GuestOf(request);
  if (!connection) return std::unexpected(connection.error());
  return Details(*connection);
}

Result<Json> ControlHandler::Stats(const Json& request) {
  if (request.contains(field::kGuest)) return Show(request);
  auto guests = List(request);
  return Json{{"host", ToJson(administration_.Host())}, {"guests", std::move(*guests)}};
}

Result<Json> ControlHandler::Explain(const Json& request) {
  const auto connection = GuestOf(request);
  if (!connection) return std::unexpected(connection.error());
  const auto stats = administration_.StatsOf(connection->guest.id);
  if (!stats) return std::unexpected(stats.error());
  const auto share = administration_.ShareOf(connection->guest.id);
  if (!share) return std::unexpected(share.error());
  const auto history = administration_.HistoryOf(connection->guest.id);
  if (!history) return std::unexpected(history.error());
  return ExplanationJson({.connection = *connection,
                          .stats = *stats,
                          .share = *share,
                          .history = *history,
                          .store = administration_.Host().store});
}

Result<Json> ControlHandler::TellHistory(const Json& request) {
  const auto connection = GuestOf(request);
  if (!connection) return std::unexpected(connection.error());
  const auto samples = administration_.HistoryOf(connection->guest.id);
  if (!samples) return std::unexpected(samples.error());
  return ToJson(connection->guest, *samples);
}

Result<Json> ControlHandler::Set(const Json& request) {
  auto persist = Persist::kNo;
  if (request.contains(field::kPersist)) {
    const auto wanted = Read<bool>(request, field::kPersist, &Json::is_boolean, "true or false");
    if (!wanted) return std::unexpected(wanted.error());
    persist = Persist{*wanted};
  }
  if (request.contains(field::kGuest)) return SetGuest(request, persist);
  if (persist == Persist::kNo) return SetHost(request);
  return Fail(ErrorCode::kUnsupported,
              "only guests' settings can be persisted; write the host's into the configuration and "
              "reload tmemd");
}

Result<Json> ControlHandler::SetGuest(const Json& request, Persist persist) {
  const auto connection = GuestOf(request);
  if (!connection) return std::unexpected(connection.error());
  const auto edits = ReadSettings(request, AddEdit);
  if (!edits) return std::unexpected(edits.error());
  const auto settings = administration_.Change(connection->guest, *edits, persist);
  if (!settings) return std::unexpected(settings.error());
  return ToJson(*settings);
}

Result<Json> ControlHandler::SetHost(const Json& request) {
  const auto edits = ReadSettings(request, AddHostEdit);
  if (!edits) return std::unexpected(edits.error());
  TMEM_TRY(administration_.ChangeHost(*edits));
  const HostInfo host = administration_.Host();
  const Json all = ToJson(host.config);
  Json settings = Json::object();
  for (const auto& [name, value] : edits->changes) settings[name] = all.at(name);
  for (const std::string& name : edits->undone) settings[name] = all.at(name);
  return Json{{"settings", std::move(settings)}, {"capacity_bytes", host.store.capacity.value}};
}

Result<Json> ControlHandler::Freeze(const Json& request) { return SetFrozen(request, true); }

Result<Json> ControlHandler::Thaw(const Json& request) { return SetFrozen(request, false); }

Result<Json> ControlHandler::SetFrozen(const Json& request, bool frozen) {
  const auto connections = GuestsOf(request);
  if (!connections) return std::unexpected(connections.error());
  for (const ConnectionInfo& connection : *connections) {
    const auto changed =
        administration_.Change(connection.guest, {.changes = {{"frozen", frozen}}}, Persist::kNo);
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

  const SettingEdits edits{
      .changes = {{fmt::format("{}/{}", kSharedAuth, uuid->ToString()), *allow}}};
  const auto settings = administration_.Change(connection->guest, edits, Persist::kNo);
  if (!settings) return std::unexpected(settings.error());
  return ToJson(*settings);
}

Result<Json> ControlHandler::Forgive(const Json& request) {
  const auto connection = GuestOf(request);
  if (!connection) return std::unexpected(connection.error());
  TMEM_TRY(administration_.Forgive(connection->guest.id));
  return Json::object();
}

Result<Json> ControlHandler::Freeable(const Json&) {
  const StoreStats store = administration_.Host().store;
  Json guests = Json::array();
  for (const ConnectionInfo& connection : administration_.Connections()) {
    const auto stats = administration_.StatsOf(connection.guest.id);
    if (!stats) continue;  // it went meanwhile
    guests.push_back({{"name", connection.guest.name},
                      {"freeable_bytes", stats->segments[kEphemeral].value},
                      {"persistent_bytes", stats->segments[kPersistent].value}});
  }
  const Bytes in_use = store.segments[kEphemeral] + store.segments[kPersistent];
  return Json{{"freeable_bytes", store.segments[kEphemeral].value},
              {"persistent_bytes", store.segments[kPersistent].value},
              {"unused_bytes", (std::max(store.capacity, in_use) - in_use).value},
              {"guests", std::move(guests)}};
}

Result<Json> ControlHandler::Reclaim(const Json& request) {
  const auto wanted = ReadSize(request, field::kBytes);
  if (!wanted) return std::unexpected(wanted.error());
  if (*wanted == Bytes(0)) return Fail(ErrorCode::kInvalid, "bytes: 0 is nothing to reclaim");
  const Reclaimed reclaimed = administration_.Reclaim(*wanted);
  return Json{{"wanted_bytes", wanted->value},
              {"given_back_bytes", reclaimed.given_back.value},
              {"capacity_before_bytes", reclaimed.capacity_before.value},
              {"capacity_bytes", reclaimed.capacity.value},
              {"ephemeral_bytes", reclaimed.ephemeral.value},
              {"persistent_bytes", reclaimed.persistent.value}};
}

Result<std::pair<Directory*, std::string>> ControlHandler::NodeOf(const Json& request) const {
  const auto directory = administration_.DirectoryForTools();
  if (!directory) return std::unexpected(directory.error());
  const auto path = ReadText(request, field::kPath);
  if (!path) return std::unexpected(path.error());
  return std::pair(*directory, *path);
}

Result<Json> ControlHandler::XenstoreRead(const Json& request) {
  const auto node = NodeOf(request);
  if (!node) return std::unexpected(node.error());
  const auto value = node->first->Read(node->second);
  if (!value) return std::unexpected(value.error());
  return Json{{"value", *value}};
}

Result<Json> ControlHandler::XenstoreWrite(const Json& request) {
  const auto node = NodeOf(request);
  if (!node) return std::unexpected(node.error());
  const auto value = ReadText(request, field::kValue);
  if (!value) return std::unexpected(value.error());
  TMEM_TRY(node->first->Write(node->second, *value));
  return Json::object();
}

Result<Json> ControlHandler::XenstoreRemove(const Json& request) {
  const auto node = NodeOf(request);
  if (!node) return std::unexpected(node.error());
  TMEM_TRY(node->first->Remove(node->second));
  return Json::object();
}

Result<Json> ControlHandler::XenstoreList(const Json& request) {
  const auto node = NodeOf(request);
  if (!node) return std::unexpected(node.error());
  return ListNodes(*node->first, node->second);
}

}  // namespace tmem::daemon
