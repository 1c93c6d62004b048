#include "daemon/guest_registry.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "daemon/guest_files.h"

namespace tmem::daemon {

namespace {

constexpr std::string_view kAllGuests = "all";

bool Names(const std::string& entry, const GuestInfo& guest) {
  if (entry == kAllGuests || entry == guest.name) return true;
  const auto uuid = Uuid::Parse(entry);
  return uuid && *uuid == guest.uuid;
}

template <class Key>
SettingChanges EntryOr(const std::map<Key, SettingChanges>& entries, const Key& key,
                       const SettingChanges& otherwise) {
  const auto at = entries.find(key);
  return at == entries.end() ? otherwise : at->second;
}

// What stands there under the guest's uuid, or else under its name.
SettingChanges EntryOf(const std::map<std::string, SettingChanges>& entries,
                       const GuestInfo& guest) {
  return EntryOr(entries, guest.uuid.ToString(), EntryOr(entries, guest.name, {}));
}

}  // namespace

void GuestRegistry::Reload(const Config& config) {
  defaults_ = config.guest_defaults;
  sections_ = config.guests;
  files_ = config.guest_files;
  allowed_ = config.allowed_guests;
}

bool GuestRegistry::Allows(const GuestInfo& guest) const {
  return std::ranges::any_of(allowed_,
                             [&](const std::string& entry) { return Names(entry, guest); });
}

SettingChanges GuestRegistry::FilesOf(const GuestInfo& guest) const {
  return Merged(EntryOf(sections_, guest), EntryOf(files_, guest));
}

LiveChanges GuestRegistry::LiveChangesOf(const GuestInfo& guest) const {
  return {.by_key = EntryOr(by_key_, guest.id, {}),
          .by_command = EntryOr(by_command_, guest.uuid, {})};
}

GuestSettings GuestRegistry::SettingsOf(const GuestInfo& guest) const {
  const auto settings = Preview(guest, LiveChangesOf(guest));
  if (settings) return *settings;
  // A reload can bring, say, a reserve above the cap that was set before it.
  spdlog::warn("guest {}: {}; the configuration's settings hold instead of those changed since",
               guest.name, settings.error().message);
  return Preview(guest, {}).value_or(defaults_);
}

Result<GuestSettings> GuestRegistry::Preview(const GuestInfo& guest,
                                             const LiveChanges& changes) const {
  return WithChanges(defaults_, Merged(Merged(FilesOf(guest), changes.by_key), changes.by_command));
}

void GuestRegistry::Record(const GuestInfo& guest, LiveChanges changes) {
  by_key_[guest.id] = std::move(changes.by_key);
  if (changes.by_command.empty()) {
    by_command_.erase(guest.uuid);
  } else {
    by_command_[guest.uuid] = std::move(changes.by_command);
  }
}

std::string GuestRegistry::FileNameOf(const GuestInfo& guest) const {
  const std::string uuid = guest.uuid.ToString();
  return files_.contains(uuid) || !NamesAFile(guest.name) ? uuid : guest.name;
}

Result<void> GuestRegistry::CheckFile(const GuestInfo& guest, const SettingEdits& edits) const {
  const auto file = Edited(EntryOf(files_, guest), edits);
  const auto settings = WithChanges(defaults_, Merged(EntryOf(sections_, guest), file));
  return settings ? Result<void>() : std::unexpected(settings.error());
}

}  // namespace tmem::daemon
