#include "daemon/tuning.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <charconv>
#include <optional>
#include <utility>
#include <vector>

#include "daemon/key_folder.h"

namespace tmem::daemon {

namespace {

constexpr std::string_view kGuests = "guest";
constexpr std::string_view kUuid = "uuid";

constexpr Directory::Permissions kOursAlone{.owner = kBackendDomain, .reader = {}};

std::string GuestsPath() { return fmt::format("{}/{}", kTuningPath, kGuests); }

// "a" and "b/c" of "a/b/c".
std::pair<std::string_view, std::string_view> SplitPath(std::string_view path) {
  const size_t slash = path.find('/');
  if (slash == std::string_view::npos) return {path, {}};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

// What stands after `top` and a slash; empty for `top` itself, nullopt for what is not below it.
std::optional<std::string_view> Below(std::string_view path, std::string_view top) {
  if (!path.starts_with(top)) return std::nullopt;
  path.remove_prefix(top.size());
  if (path.empty()) return path;
  return path.starts_with('/') ? std::optional(path.substr(1)) : std::nullopt;
}

std::optional<GuestId> ParseGuestId(std::string_view text) {
  GuestId id;
  const char* const end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, id.value);
  return status == std::errc() && rest == end ? std::optional(id) : std::nullopt;
}

// Our own writes come back as events, too.
bool IsOwnWrite(std::string_view below) {
  const size_t slash = below.rfind('/');
  return IsOwnKey(SplitPath(below).first) ||
         (slash != std::string_view::npos && IsOwnKey(below.substr(slash + 1)));
}

}  // namespace

std::string GuestTuningPath(GuestId guest) {
  return fmt::format("{}/{}", GuestsPath(), guest.value);
}

// The keys of the host, or of one guest.
class Tuning::Folder {
 public:
  Folder(Directory& directory, Tunable& host) : keys(directory, std::string(kTuningPath), host) {}
  Folder(Directory& directory, const GuestInfo& whose, std::unique_ptr<Tunable> tunable)
      : guest(whose),
        owned_(std::move(tunable)),
        keys(directory, GuestTuningPath(whose.id), *owned_) {}

  const GuestInfo guest;

 private:
  const std::unique_ptr<Tunable> owned_;

 public:
  KeyFolder keys;
};

Tuning::Tuning(Directory& directory, const Clock& clock, Tunable& host)
    : directory_(directory), clock_(clock), host_(std::make_unique<Folder>(directory, host)) {}

Tuning::~Tuning() = default;

Result<void> Tuning::Start() {
  const std::vector<Directory::Node> folders = {
      {.path = std::string(kTuningPath), .value = "", .permissions = kOursAlone},
      {.path = GuestsPath(), .value = "", .permissions = kOursAlone}};
  TMEM_TRY(directory_.WriteAll(folders));
  TMEM_TRY(directory_.Watch(std::string(kTuningPath), std::string(kTuningToken)));
  host_->keys.Read();
  return {};
}

void Tuning::RemoveStrangers(const std::set<GuestId>& guests) {
  for (const std::string& name :
       directory_.List(GuestsPath()).value_or(std::vector<std::string>())) {
    const auto id = ParseGuestId(name);
    const std::string path = fmt::format("{}/{}", GuestsPath(), name);
    // Without the uuid it is not one that we made: somebody may be preparing it for a guest.
    if (id && !guests.contains(*id) && directory_.Read(fmt::format("{}/{}", path, kUuid))) {
      (void)directory_.Remove(path);
    }
  }
}

void Tuning::Follow(const GuestInfo& guest, std::unique_ptr<Tunable> tunable) {
  const auto at = guests_.find(guest.id);
  if (at != guests_.end() && at->second->guest.uuid == guest.uuid) return;

  const std::string path = GuestTuningPath(guest.id);
  const std::string uuid = guest.uuid.ToString();
  const std::string uuid_path = fmt::format("{}/{}", path, kUuid);
  // A domid is used again: what another guest left says nothing about this one.
  const auto whose = directory_.Read(uuid_path);
  if (whose && *whose != uuid) (void)directory_.Remove(path);
  const std::vector<Directory::Node> nodes = {
      {.path = path, .value = "", .permissions = kOursAlone},
      {.path = uuid_path, .value = uuid, .permissions = kOursAlone}};
  if (const auto made = directory_.WriteAll(nodes); !made) {
    spdlog::error("guest {}: cannot make {}: {}", guest.name, path, made.error().message);
  }
  auto& folder = guests_[guest.id];
  folder = std::make_unique<Folder>(directory_, guest, std::move(tunable));
  folder->keys.Read();
}

void Tuning::Forget(const GuestInfo& guest) {
  guests_.erase(guest.id);
  if (const auto removed = directory_.Remove(GuestTuningPath(guest.id)); !removed) {
    spdlog::error("guest {}: {}", guest.name, removed.error().message);
  }
}

void Tuning::ReadAll() {
  host_->keys.set_changed();
  for (const auto& [id, folder] : guests_) folder->keys.set_changed();
}

void Tuning::Note(std::string_view path) {
  const auto rest = Below(path, kTuningPath);
  if (!rest) return;
  const auto [first, below] = SplitPath(*rest);
  if (first.empty() || (first == kGuests && below.empty())) {
    ReadAll();  // changes of several nodes were folded
  } else if (first == kGuests) {
    NoteGuest(below);
  } else if (!IsOwnWrite(*rest)) {
    host_->keys.set_changed();
  }
}

void Tuning::NoteGuest(std::string_view path) {
  const auto [number, below] = SplitPath(path);
  const auto id = ParseGuestId(number);
  const auto at = id ? guests_.find(*id) : guests_.end();
  if (at != guests_.end() && !IsOwnWrite(below)) at->second->keys.set_changed();
}

TimePoint Tuning::due() const {
  bool changed = host_->keys.changed();
  for (const auto& [id, folder] : guests_) changed |= folder->keys.changed();
  return changed ? last_read_ + kInterval : TimePoint::max();
}

void Tuning::ReadChanged() {
  last_read_ = clock_.Now();
  if (host_->keys.changed()) host_->keys.Read();
  for (const auto& [id, folder] : guests_) {
    if (folder->keys.changed()) folder->keys.Read();
  }
}

}  // namespace tmem::daemon
