#include "hypercall/loopback/realm.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <random>
#include <utility>

#include "hypercall/loopback/wire.h"

namespace tmem::loopback {

namespace {

std::string FolderOf(GuestId guest) { return fmt::format("/local/domain/{}", guest.value); }

Uuid RandomUuid() {
  std::random_device random;
  const auto word = [&] { return uint64_t{random()} << 32 | random(); };
  return Uuid{{word(), word()}};
}

std::unexpected<Error> NoGuest(GuestId guest) {
  return Fail(ErrorCode::kNotFound, fmt::format("no guest has the domid {}", guest.value));
}

}  // namespace

Uuid UuidOfName(std::string_view name) {
  const std::string text = fmt::format("tmem loopback guest {}", name);
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  // Marked as RFC 9562 asks of a uuid that is made by a rule of one's own: version 8, variant 10.
  Uuid uuid{{hash.high64, hash.low64}};
  uuid.words[0] = (uuid.words[0] & ~uint64_t{0xf000}) | 0x8000;
  uuid.words[1] = (uuid.words[1] & ~(uint64_t{3} << 62)) | uint64_t{2} << 62;
  return uuid;
}

Realm::Realm(const Bell& backend_bell, const Bell& server_bell)
    : backend_bell_(backend_bell), server_bell_(server_bell), instance_(RandomUuid()) {}

Result<GuestId> Realm::Introduce(const std::string& name, std::shared_ptr<GuestMemory> memory) {
  Guest gone;  // destroyed after the lock
  Result<GuestId> result = [&]() -> Result<GuestId> {
    MutexLock lock(mutex_);
    if (const auto named = Named(name)) {
      if (guests_[*named].memory != nullptr) {
        return Fail(ErrorCode::kExists,
                    fmt::format("a guest named '{}' is connected already; choose another name or "
                                "end that program",
                                name));
      }
      gone = Forget(*named);  // a new guest of that name: the expected one will not come any more
    }
    const std::optional<GuestId> id = FreeDomid();
    if (!id) return Fail(ErrorCode::kExhausted, "no domid is free");
    const GuestInfo info{*id, name, UuidOfName(name)};
    guests_[*id] = Guest{info, std::move(memory), {}};
    TMEM_TRY(WriteFolder(info));
    return *id;
  }();
  RingBells();
  return result;
}

Result<GuestId> Realm::Resume(GuestId claimed, const std::string& name,
                              std::shared_ptr<GuestMemory> memory) {
  Result<GuestId> result = [&]() -> Result<GuestId> {
    MutexLock lock(mutex_);
    const auto at = guests_.find(claimed);
    if (at == guests_.end() || at->second.memory != nullptr || at->second.info.name != name) {
      return NoGuest(claimed);
    }
    at->second.memory = std::move(memory);
    TMEM_TRY(WriteFolder(at->second.info));
    return claimed;
  }();
  RingBells();
  return result;
}

void Realm::Expect(std::span<const GuestInfo> guests, TimePoint deadline) {
  {
    MutexLock lock(mutex_);
    for (const GuestInfo& info : guests) guests_[info.id] = Guest{info, nullptr, {}};
    expected_until_ = deadline;
  }
  server_bell_.Ring();  // whoever waits learns the deadline
}

TimePoint Realm::ReleaseOverdue(TimePoint now) {
  {
    MutexLock lock(mutex_);
    std::vector<GuestId> expected;
    for (const auto& [id, guest] : guests_) {
      if (guest.memory == nullptr) expected.push_back(id);
    }
    if (expected.empty()) return TimePoint::max();
    if (now < expected_until_) return expected_until_;
    for (const GuestId guest : expected) Forget(guest);
  }
  RingBells();
  return TimePoint::max();
}

std::optional<GuestId> Realm::Named(const std::string& name) const {
  for (const auto& [id, guest] : guests_) {
    if (guest.info.name == name) return id;
  }
  return std::nullopt;
}

Result<void> Realm::WriteFolder(const GuestInfo& info) {
  const std::string folder = FolderOf(info.id);
  const Directory::Node nodes[] = {
      {folder, "", Directory::Permissions{kBackendDomain, info.id}},
      {folder + "/name", info.name, std::nullopt},
      {folder + "/vm", "/vm/" + info.uuid.ToString(), std::nullopt},
  };
  TMEM_TRY(tree_.WriteAll(nodes));
  tree_.Fire(kIntroduceDomain);
  return {};
}

std::optional<GuestId> Realm::FreeDomid() {
  for (uint32_t tried = 0; tried < kMaxDomid; ++tried) {
    last_domid_ = static_cast<uint16_t>(last_domid_ % kMaxDomid + 1);
    const GuestId id{last_domid_};
    if (!guests_.contains(id) && !released_.contains(id)) return id;
  }
  return std::nullopt;
}

void Realm::Release(GuestId guest) {
  Guest gone;  // destroyed after the lock: closes descriptors
  {
    MutexLock lock(mutex_);
    if (!guests_.contains(guest)) return;
    gone = Forget(guest);
  }
  RingBells();
}

Realm::Guest Realm::Forget(GuestId guest) {
  Guest gone = std::move(guests_.extract(guest).mapped());
  released_.insert(guest);
  tree_.ForgetWatcher(guest);
  (void)tree_.Remove(kBackendDomain, FolderOf(guest));
  tree_.Fire(kReleaseDomain);
  return gone;
}

Result<Realm::NewPort> Realm::AllocPort(GuestId guest) {
  Result<Port::Pair> pair = Port::Create();
  if (!pair) return std::unexpected(std::move(pair).error());
  MutexLock lock(mutex_);
  const auto at = guests_.find(guest);
  if (at == guests_.end()) return NoGuest(guest);
  auto& ports = at->second.ports;
  if (ports.size() >= kMaxPorts) {
    return Fail(ErrorCode::kExhausted, fmt::format("a guest has at most {} ports", kMaxPorts));
  }
  const EventPort port{static_cast<uint32_t>(ports.size()) + 1};
  ports[port] = std::move(pair->port);
  return NewPort{port, std::move(pair->guest_end)};
}

std::vector<GuestInfo> Realm::Guests() {
  MutexLock lock(mutex_);
  released_.clear();
  std::vector<GuestInfo> guests;
  guests.reserve(guests_.size());
  for (const auto& [id, guest] : guests_) guests.push_back(guest.info);
  return guests;
}

Result<std::shared_ptr<GuestMemory>> Realm::MemoryOf(GuestId guest) {
  MutexLock lock(mutex_);
  const auto at = guests_.find(guest);
  if (at == guests_.end() || at->second.memory == nullptr) return NoGuest(guest);
  return at->second.memory;
}

Result<std::shared_ptr<Port>> Realm::PortOf(GuestId guest, EventPort port) {
  MutexLock lock(mutex_);
  const auto at = guests_.find(guest);
  if (at == guests_.end()) return NoGuest(guest);
  const auto found = at->second.ports.find(port);
  if (found == at->second.ports.end()) {
    return Fail(ErrorCode::kInvalid, fmt::format("event channel {} does not exist", port.value));
  }
  return found->second;
}

template <class Action>
Result<void> Realm::Change(Action action) {
  const Result<void> result = [&] {
    MutexLock lock(mutex_);
    return action(tree_);
  }();
  RingBells();
  return result;
}

Result<std::string> Realm::Read(GuestId who, const std::string& path) {
  MutexLock lock(mutex_);
  return tree_.Read(who, path);
}

Result<std::vector<std::string>> Realm::List(GuestId who, const std::string& path) {
  MutexLock lock(mutex_);
  return tree_.List(who, path);
}

Result<void> Realm::Write(GuestId who, const std::string& path, const std::string& value) {
  return Change([&](Tree& tree) { return tree.Write(who, path, value); });
}

Result<void> Realm::WriteAll(std::span<const Directory::Node> nodes) {
  return Change([&](Tree& tree) { return tree.WriteAll(nodes); });
}

Result<void> Realm::Remove(GuestId who, const std::string& path) {
  return Change([&](Tree& tree) { return tree.Remove(who, path); });
}

Result<void> Realm::Watch(GuestId who, const std::string& path, const std::string& token) {
  return Change([&](Tree& tree) { return tree.Watch(who, path, token); });
}

Result<void> Realm::Unwatch(GuestId who, const std::string& path, const std::string& token) {
  MutexLock lock(mutex_);
  return tree_.Unwatch(who, path, token);
}

std::optional<Directory::WatchEvent> Realm::NextEvent(GuestId who) {
  MutexLock lock(mutex_);
  return tree_.NextEvent(who);
}

void Realm::RingBells() {
  std::vector<GuestId> woken;
  {
    MutexLock lock(mutex_);
    woken = tree_.TakeWoken();
  }
  bool guests = false;
  for (const GuestId who : woken) {
    if (who == kBackendDomain) {
      backend_bell_.Ring();
    } else {
      guests = true;
    }
  }
  if (guests) server_bell_.Ring();
}

}  // namespace tmem::loopback
