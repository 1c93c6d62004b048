#include "hypercall/loopback/watch_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace tmem::loopback {

Result<void> WatchTable::Add(GuestId watcher, const std::string& path, const std::string& token) {
  Watches& watches = by_path_[path];
  const bool known = std::ranges::any_of(
      watches, [&](const Watch& w) { return w.watcher == watcher && w.token == token; });
  if (known) {
    return Fail(ErrorCode::kExists, fmt::format("{} is watched with that token already", path));
  }
  watches.push_back({.watcher = watcher, .path = path, .token = token, .pending = {}});
  ++watchers_[watcher].watches;
  Post(watches.back(), path);
  return {};
}

Result<void> WatchTable::Remove(GuestId watcher, const std::string& path,
                                const std::string& token) {
  const auto at = by_path_.find(path);
  if (at != by_path_.end()) {
    Watches& watches = at->second;
    const auto watch = std::ranges::find_if(
        watches, [&](const Watch& w) { return w.watcher == watcher && w.token == token; });
    if (watch != watches.end()) {
      Forget(watches, watch);
      if (watches.empty()) by_path_.erase(at);
      return {};
    }
  }
  return Fail(ErrorCode::kNotFound, fmt::format("{} is not watched with that token", path));
}

void WatchTable::RemoveAll(GuestId watcher) {
  for (auto at = by_path_.begin(); at != by_path_.end();) {
    std::erase_if(at->second, [&](const Watch& w) { return w.watcher == watcher; });
    at = at->second.empty() ? by_path_.erase(at) : std::next(at);
  }
  watchers_.erase(watcher);
  woken_.erase(watcher);
}

size_t WatchTable::CountOf(GuestId watcher) const {
  const auto at = watchers_.find(watcher);
  return at == watchers_.end() ? 0 : at->second.watches;
}

void WatchTable::Forget(Watches& watches, Watches::iterator watch) {
  const auto at = watchers_.find(watch->watcher);
  std::erase_if(at->second.events, [&](const auto& event) { return event.first == &*watch; });
  if (--at->second.watches == 0) watchers_.erase(at);
  watches.erase(watch);
}

void WatchTable::NodeChanged(std::string_view path, const MaySee& may_see) {
  std::string_view above = path;
  while (true) {
    if (const auto at = by_path_.find(above); at != by_path_.end()) {
      for (Watch& watch : at->second) {
        if (may_see(watch.watcher, path)) Post(watch, path);
      }
    }
    if (above.size() <= 1) return;
    const size_t slash = above.rfind('/');
    if (slash == std::string_view::npos) return;  // a special path: @releaseDomain
    above = slash == 0 ? std::string_view("/") : above.substr(0, slash);
  }
}

void WatchTable::TreeBelowGone(std::string_view path, const MaySee& may_see) {
  const std::string prefix = path == "/" ? "/" : std::string(path) + '/';
  for (auto at = by_path_.upper_bound(prefix); at != by_path_.end(); ++at) {
    if (!at->first.starts_with(prefix)) break;
    for (Watch& watch : at->second) {
      if (may_see(watch.watcher, watch.path)) Post(watch, watch.path);
    }
  }
}

void WatchTable::Post(Watch& watch, std::string_view path) {
  if (watch.pending.contains(path)) return;
  Watcher& watcher = watchers_[watch.watcher];
  woken_.insert(watch.watcher);
  if (watch.pending.size() >= kMaxPending) {
    watch.pending.clear();
    std::erase_if(watcher.events, [&](const auto& event) { return event.first == &watch; });
    path = watch.path;
  }
  watch.pending.emplace(path);
  watcher.events.emplace_back(&watch, path);
}

std::optional<Directory::WatchEvent> WatchTable::Next(GuestId watcher) {
  const auto at = watchers_.find(watcher);
  if (at == watchers_.end() || at->second.events.empty()) return std::nullopt;
  auto [watch, path] = std::move(at->second.events.front());
  at->second.events.pop_front();
  watch->pending.erase(path);
  return Directory::WatchEvent{.path = std::move(path), .token = watch->token};
}

std::vector<GuestId> WatchTable::TakeWoken() {
  std::vector<GuestId> woken(woken_.begin(), woken_.end());
  woken_.clear();
  return woken;
}

}  // namespace tmem::loopback
