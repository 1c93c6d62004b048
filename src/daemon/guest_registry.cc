#include "daemon/guest_registry.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "daemon/knobs.h"

namespace tmem::daemon {

namespace {

constexpr std::string_view kAllGuests = "all";

bool Names(const std::string& entry, const GuestInfo& guest) {
  if (entry == kAllGuests || entry == guest.name) return true;
  const auto uuid = Uuid::Parse(entry);
  return uuid && *uuid == guest.uuid;
}

SettingChanges Merged(SettingChanges earlier, const SettingChanges& later) {
  for (const auto& [name, value] : later) earlier[name] = value;
  return earlier;
}

}  // namespace

void GuestRegistry::Reload(const Config& config) {
  defaults_ = config.guest_defaults;
  sections_ = config.guests;
  allowed_ = config.allowed_guests;
}

std::optional<GuestSettings> GuestRegistry::Admit(const GuestInfo& guest) const {
  const bool allowed =
      std::ranges::any_of(allowed_, [&](const std::string& entry) { return Names(entry, guest); });
  return allowed ? std::optional(SettingsOf(guest)) : std::nullopt;
}

GuestSettings GuestRegistry::ConfiguredFor(const GuestInfo& guest) const {
  auto section = sections_.find(guest.uuid.ToString());
  if (section == sections_.end()) section = sections_.find(guest.name);
  if (section == sections_.end()) return defaults_;
  // LoadConfig checked every section over the defaults.
  return WithChanges(defaults_, section->second).value_or(defaults_);
}

GuestSettings GuestRegistry::SettingsOf(const GuestInfo& guest) const {
  auto settings = Preview(guest, {});
  if (settings) return *settings;
  // A reload can bring, say, a reserve above the cap that was set before it.
  spdlog::warn("guest {}: {}; the configuration's settings hold instead of those changed since",
               guest.name, settings.error().message);
  return ConfiguredFor(guest);
}

Result<GuestSettings> GuestRegistry::Preview(const GuestInfo& guest,
                                             const SettingChanges& changes) const {
  const auto earlier = changed_.find(guest.name);
  const auto merged = earlier == changed_.end() ? changes : Merged(earlier->second, changes);
  return WithChanges(ConfiguredFor(guest), merged);
}

void GuestRegistry::Record(const GuestInfo& guest, const SettingChanges& changes) {
  SettingChanges& all = changed_[guest.name];
  all = Merged(std::move(all), changes);
}

}  // namespace tmem::daemon
