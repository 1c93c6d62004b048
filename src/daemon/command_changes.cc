#include "daemon/command_changes.h"

#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "daemon/knob_json.h"
#include "daemon/knobs.h"
#include "daemon/text_file.h"

namespace tmem::daemon {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kHost = "host";
constexpr std::string_view kGuests = "guests";

std::string PathIn(const std::string& folder) { return folder + "/settings.json"; }

void LeaveOut(const std::string& path, std::string_view what, std::string_view why) {
  spdlog::error("{}: {} is left out: {}", path, what, why);
}

Json ToJson(const SettingChanges& changes) {
  Json json = Json::object();
  for (const auto& [name, value] : changes) json[name] = daemon::ToJson(value);
  return json;
}

// `add` is AddChange or AddHostChange: it knows the names.
SettingChanges ChangesOf(const Json& json, const std::string& path,
                         Result<void> (&add)(SettingChanges&, const std::string&,
                                             const KnobValue&)) {
  SettingChanges changes;
  if (!json.is_object()) return changes;
  for (const auto& [name, entry] : json.items()) {
    const auto value = ValueOf(entry);
    if (!value) {
      LeaveOut(path, name, "no setting takes this kind of value");
    } else if (const auto added = add(changes, name, *value); !added) {
      LeaveOut(path, name, added.error().message);
    }
  }
  return changes;
}

}  // namespace

CommandChanges LoadCommandChanges(const std::string& store_folder) {
  const std::string path = PathIn(store_folder);
  CommandChanges changes;
  const auto text = ReadTextFile(path);
  if (!text) {
    if (text.error().code != ErrorCode::kNotFound) {
      LeaveOut(path, "everything", text.error().message);
    }
    return changes;
  }
  const Json json = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains(kHost) || !json.contains(kGuests)) {
    LeaveOut(path, "everything", "this is not a file that tmemd wrote");
    return changes;
  }
  changes.host = ChangesOf(json.at(kHost), path, AddHostChange);
  for (const auto& [guest, settings] : json.at(kGuests).items()) {
    if (const auto uuid = Uuid::Parse(guest)) {
      changes.guests[*uuid] = ChangesOf(settings, path, AddChange);
    } else {
      LeaveOut(path, guest, "a guest is named by its uuid here");
    }
  }
  return changes;
}

Result<void> SaveCommandChanges(const std::string& store_folder, const CommandChanges& changes) {
  Json guests = Json::object();
  for (const auto& [uuid, settings] : changes.guests) guests[uuid.ToString()] = ToJson(settings);
  const Json json{{kHost, ToJson(changes.host)}, {kGuests, std::move(guests)}};
  return ReplaceTextFile(PathIn(store_folder), json.dump(2) + '\n');
}

}  // namespace tmem::daemon
