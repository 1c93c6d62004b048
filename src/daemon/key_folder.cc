#include "daemon/key_folder.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <utility>

namespace tmem::daemon {

namespace {

constexpr std::array<std::string_view, 3> kOwnNames = {"guest", "stats", "uuid"};
constexpr std::string_view kErrorSuffix = "-error";

void Warn(const Result<void>& done) {
  if (!done) spdlog::error("{}", done.error().message);
}

}  // namespace

bool IsOwnKey(std::string_view name) {
  return name.ends_with(kErrorSuffix) || std::ranges::find(kOwnNames, name) != kOwnNames.end();
}

KeyFolder::KeyFolder(Directory& directory, std::string path, Tunable& tunable)
    : directory_(directory),
      path_(std::move(path)),
      tunable_(tunable),
      judge_([this](auto&... key) { return tunable_.Parse(key...); },
             [this](const SettingChanges& changes) { return tunable_.Check(changes); }) {}

void KeyFolder::Read() {
  changed_ = false;
  Contents contents;
  if (!ReadLevel("", contents)) return set_changed();
  auto verdict = judge_.Judge(contents.keys);
  if (applied_ != verdict.changes) {
    tunable_.Apply(verdict.changes);
    applied_ = std::move(verdict.changes);
  }
  for (const auto& [name, reason] : tunable_.Overridden()) {
    if (contents.keys.contains(name)) verdict.refusals.emplace(name, reason);
  }
  TellErrors(verdict.refusals, contents.errors);
}

// One level of the folder, or of a section of it. False if it cannot be read now.
bool KeyFolder::ReadLevel(const std::string& prefix, Contents& contents) {
  const auto names = directory_.List(prefix.empty() ? path_ : fmt::format("{}/{}", path_, prefix));
  if (!names) return names.error().code == ErrorCode::kNotFound;
  for (const std::string& last : *names) {
    const std::string name = prefix.empty() ? last : fmt::format("{}/{}", prefix, last);
    if (IsOwnKey(last) && !last.ends_with(kErrorSuffix)) continue;
    if (contents.keys.size() + contents.errors.size() >= Tuning::kMaxKeys) {
      spdlog::warn("{} has more than {} keys; the others are ignored", path_, Tuning::kMaxKeys);
      return true;
    }
    if (!ReadKey(name, contents)) return false;
    if (prefix.empty() && tunable_.sections().contains(name) && !ReadLevel(name, contents)) {
      return false;
    }
  }
  return true;
}

bool KeyFolder::ReadKey(const std::string& name, Contents& contents) {
  const auto value = directory_.Read(fmt::format("{}/{}", path_, name));
  if (!value) return value.error().code == ErrorCode::kNotFound;  // it has gone just now
  if (name.ends_with(kErrorSuffix)) {
    contents.errors[name.substr(0, name.size() - kErrorSuffix.size())] = *value;
  } else if (!value->empty() || !tunable_.sections().contains(name)) {
    contents.keys[name] = *value;
  }
  return true;
}

void KeyFolder::TellErrors(const Texts& refusals, const Texts& told) {
  const auto path_of = [&](const std::string& name) {
    return fmt::format("{}/{}{}", path_, name, kErrorSuffix);
  };
  std::string news;  // one line of the log, however many keys there are
  for (const auto& [name, reason] : refusals) {
    const auto at = told.find(name);
    if (at != told.end() && at->second == reason) continue;
    if (news.empty()) news = fmt::format("{}/{}: {}", path_, name, reason);
    Warn(directory_.Write(path_of(name), reason));
  }
  if (!news.empty()) spdlog::warn("{} (of {} keys that do not hold)", news, refusals.size());
  for (const auto& [name, reason] : told) {
    if (!refusals.contains(name)) Warn(directory_.Remove(path_of(name)));
  }
}

}  // namespace tmem::daemon
