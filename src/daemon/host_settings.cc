#include "daemon/host_settings.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <utility>

namespace tmem::daemon {

std::vector<std::string> ChangedKnobs(const Config& before, const Config& after, Effect effect) {
  std::vector<std::string> names;
  for (const DaemonKnob& knob : DaemonKnobs()) {
    if (knob.effect == effect && knob.get(before) != knob.get(after)) names.push_back(knob.name);
  }
  return names;
}

HostSettings::HostSettings(const Config& config, SettingChanges by_command)
    : max_capacity_(config.max_capacity != Bytes(0) ? config.max_capacity
                                                    : config.capacity.value_or(Bytes(0)) * 4),
      files_(config),
      live_{.by_command = std::move(by_command)},
      in_force_(config) {
  Settle();
}

std::vector<std::string> HostSettings::Reload(const Config& config) {
  auto waiting = ChangedKnobs(in_force_, config, Effect::kRestart);
  const Config before = std::exchange(files_, config);
  for (const DaemonKnob& knob : DaemonKnobs()) {
    if (knob.effect == Effect::kRestart) (void)knob.set(files_, knob.get(before));
  }
  Settle();
  return waiting;
}

Result<Config> HostSettings::Preview(const LiveChanges& changes) const {
  auto config = WithChanges(files_, Merged(changes.by_key, changes.by_command));
  if (config && config->capacity && *config->capacity > max_capacity_) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("capacity: {} is above max-capacity, {}; raise that in the "
                            "configuration and restart tmemd",
                            FormatBytes(*config->capacity), FormatBytes(max_capacity_)));
  }
  return config;
}

void HostSettings::Record(LiveChanges changes) {
  live_ = std::move(changes);
  Settle();
}

void HostSettings::SetGuestFile(const std::string& name, const SettingChanges& changes) {
  files_.guest_files[name] = changes;
  in_force_.guest_files[name] = changes;
}

void HostSettings::Settle() {
  auto config = Preview(live_);
  if (!config) {
    spdlog::warn("{}; the configuration's settings hold instead of those changed since",
                 config.error().message);
    config = files_;
  }
  in_force_ = *std::move(config);
}

}  // namespace tmem::daemon
