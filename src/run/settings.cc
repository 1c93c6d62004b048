#include "run/settings.h"

#include <fmt/format.h>

#include <charconv>

namespace tmem::run {

namespace {

template <class Number>
bool ParseNumber(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

bool ParseFlag(std::string_view text, bool& flag) {
  flag = text == "1";
  return flag || text == "0";
}

bool Assign(Settings& settings, std::string_view key, std::string_view value) {
  if (key == "resident") return ParseNumber(value, settings.resident.value);
  if (key == "guest") return settings.guest = value, true;
  if (key == "socket") return settings.socket = value, true;
  if (key == "spill") return settings.spill = value, true;
  if (key == "stats_json") return settings.stats_json = value, true;
  if (key == "stats") return ParseFlag(value, settings.stats);
  if (key == "children") return ParseFlag(value, settings.children);
  if (key == "read_ahead") return ParseNumber(value, settings.read_ahead);
  if (key == "process") return ParseNumber(value, settings.process);
  if (key == "started") return ParseFlag(value, settings.started);
  return false;
}

}  // namespace

// One "key=value" a line: paths may hold anything but a line end.
std::string Settings::Encode() const {
  return fmt::format(
      "resident={}\nguest={}\nsocket={}\nspill={}\nstats_json={}\nstats={:d}\nchildren={:d}\n"
      "read_ahead={}\nprocess={}\nstarted={:d}\n",
      resident.value, guest, socket, spill, stats_json, stats, children, read_ahead, process,
      started);
}

Result<Settings> Settings::Decode(std::string_view text) {
  Settings settings;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos ||
        !Assign(settings, line.substr(0, equals), line.substr(equals + 1))) {
      return Fail(ErrorCode::kInvalid,
                  fmt::format("{} holds '{}', which this version does not know; start programs "
                              "with tmemrun only",
                              kSettingsVariable, line));
    }
  }
  return settings;
}

}  // namespace tmem::run
