#include "daemon/service_tuning.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace tmem::daemon {

namespace {

// A knob's name is "section.key" in files, "section/key" in keys.
std::string KnobOfKey(std::string name) {
  std::ranges::replace(name, '/', '.');
  return name;
}

std::string KeyOfKnob(std::string name) {
  std::ranges::replace(name, '.', '/');
  return name;
}

// Keys, shorthands among them, for what tmemctl set. `whom` is what `tmemctl set` needs besides.
std::map<std::string, std::string> OverriddenBy(const SettingChanges& by_command,
                                                std::string_view whom) {
  std::map<std::string, std::string> overridden;
  for (const auto& [name, value] : by_command) {
    for (const std::string& key : {name, std::string(ShorthandOf(name))}) {
      if (key.empty()) continue;
      overridden[KeyOfKnob(key)] =
          fmt::format("no effect: tmemctl set {0} to {1}; `tmemctl set {2}{0}={3}` takes that back",
                      name, ToToml(value), whom, kDefaultValue);
    }
  }
  return overridden;
}

Result<void> Outcome(const auto& preview) {
  return preview ? Result<void>() : std::unexpected(preview.error());
}

}  // namespace

// ---- the host ----

Result<void> Service::HostTunable::Parse(SettingChanges& changes, const std::string& name,
                                         const std::string& value) const {
  return AddHostChange(changes, KnobOfKey(name), value);
}

Result<void> Service::HostTunable::Check(const SettingChanges& changes) const {
  const HostSettings& host = service_.host_;
  return Outcome(host.Preview({.by_key = changes, .by_command = host.live_changes().by_command}));
}

void Service::HostTunable::Apply(const SettingChanges& changes) {
  HostSettings& host = service_.host_;
  const Config before = host.config();
  host.Record({.by_key = changes, .by_command = host.live_changes().by_command});
  service_.Apply(before);
}

std::map<std::string, std::string> Service::HostTunable::Overridden() const {
  return OverriddenBy(service_.host_.live_changes().by_command, "");
}

const std::set<std::string>& Service::HostTunable::sections() const {
  static const std::set<std::string> sections = [] {
    std::set<std::string> all;
    for (const DaemonKnob& knob : DaemonKnobs()) {
      const size_t dot = knob.name.find('.');
      if (dot != std::string::npos) all.insert(knob.name.substr(0, dot));
    }
    return all;
  }();
  return sections;
}

// ---- one guest ----

Result<void> Service::GuestTunable::Parse(SettingChanges& changes, const std::string& name,
                                          const std::string& value) const {
  return AddChange(changes, name, value);
}

Result<void> Service::GuestTunable::Check(const SettingChanges& changes) const {
  const GuestRegistry& registry = service_.registry_;
  return Outcome(registry.Preview(
      guest_, {.by_key = changes, .by_command = registry.LiveChangesOf(guest_).by_command}));
}

void Service::GuestTunable::Apply(const SettingChanges& changes) {
  GuestRegistry& registry = service_.registry_;
  registry.Record(guest_,
                  {.by_key = changes, .by_command = registry.LiveChangesOf(guest_).by_command});
  if (!changes.empty()) spdlog::info("guest {}: settings follow xenstore", guest_.name);
  service_.Configure(guest_);
}

std::map<std::string, std::string> Service::GuestTunable::Overridden() const {
  return OverriddenBy(service_.registry_.LiveChangesOf(guest_).by_command, guest_.name + ' ');
}

const std::set<std::string>& Service::GuestTunable::sections() const {
  static const std::set<std::string> sections = {std::string(kSharedAuth)};
  return sections;
}

}  // namespace tmem::daemon
