// libFuzzer: any bytes as a configuration file. Either it is refused with one line, or its settings
// are all within their ranges.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "daemon/config.h"
#include "daemon/knobs.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tmem::daemon;
  const auto config =
      ParseConfig(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz.toml", {});
  if (!config) return 0;
  for (const DaemonKnob& knob : DaemonKnobs()) {
    Config again;
    if (!SetKnob(again, knob.name, knob.get(*config))) std::abort();
  }
  if (!config->guest_defaults.Validate()) std::abort();
  for (const auto& [guest, changes] : config->guests) {
    if (!WithChanges(config->guest_defaults, changes)) std::abort();
  }
  return 0;
}
