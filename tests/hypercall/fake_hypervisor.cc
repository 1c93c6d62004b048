#include "hypercall/fake_hypervisor.h"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace tmem {

namespace {

// A test that cannot get memory or descriptors has nothing to say.
void Require(bool condition) {
  if (!condition) std::abort();
}

bool IsAtOrBelow(std::string_view path, std::string_view top) {
  return path.starts_with(top) && (path.size() == top.size() || path[top.size()] == '/');
}

std::string Parent(const std::string& path) { return path.substr(0, path.rfind('/')); }

class FakePages final : public SharedPages {
 public:
  // `window`: a mapping of our own, to be unmapped.
  FakePages(std::shared_ptr<FakeGuest> guest, std::span<std::byte> bytes, bool window,
            std::shared_ptr<std::atomic<int64_t>> mapped)
      : guest_(std::move(guest)), bytes_(bytes), window_(window), mapped_(std::move(mapped)) {
    ++*mapped_;
  }
  ~FakePages() override {
    if (window_) ::munmap(bytes_.data(), bytes_.size());
    --*mapped_;
  }
  std::span<std::byte> bytes() const override { return bytes_; }

 private:
  const std::shared_ptr<FakeGuest> guest_;
  const std::span<std::byte> bytes_;
  const bool window_;
  const std::shared_ptr<std::atomic<int64_t>> mapped_;
};

class FakeChannel final : public EventChannel {
 public:
  explicit FakeChannel(std::shared_ptr<FakePort> port) : port_(std::move(port)) {
    port_->bound = true;
  }
  ~FakeChannel() override { port_->bound = false; }
  int fd() const override { return port_->to_backend.fd(); }
  void Acknowledge() override { port_->to_backend.Silence(); }
  void Notify() override {
    port_->notifications_to_guest.fetch_add(1, std::memory_order_relaxed);
    port_->to_guest.Ring();
  }

 private:
  const std::shared_ptr<FakePort> port_;
};

}  // namespace

Bell::Bell() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) { Require(bool{fd_}); }

void Bell::Ring() { (void)::eventfd_write(fd_.get(), 1); }

bool Bell::Silence() {
  eventfd_t count = 0;
  return ::eventfd_read(fd_.get(), &count) == 0;
}

// ---- directory ----

Result<std::string> FakeDirectory::Read(const std::string& path) {
  ++reads_;
  if (read_error_) return Fail(*read_error_, "reads fail");
  const auto at = nodes_.find(path);
  if (at == nodes_.end()) return Fail(ErrorCode::kNotFound, fmt::format("no node {}", path));
  return at->second.value;
}

Result<std::vector<std::string>> FakeDirectory::List(const std::string& path) {
  if (read_error_) return Fail(*read_error_, "reads fail");
  if (!nodes_.contains(path)) return Fail(ErrorCode::kNotFound, fmt::format("no node {}", path));
  std::vector<std::string> children;
  for (const auto& [node, entry] : nodes_) {
    if (Parent(node) == path) children.push_back(node.substr(path.size() + 1));
  }
  return children;
}

void FakeDirectory::Put(const std::string& path, const std::string& value) {
  if (const std::string above = Parent(path); !above.empty() && !nodes_.contains(above)) {
    Put(above, "");
  }
  nodes_[path].value = value;
  history_[path].push_back(value);
  Fire(path);
}

Result<void> FakeDirectory::Write(const std::string& path, const std::string& value) {
  if (write_error_) return Fail(*write_error_, "writes fail");
  Put(path, value);
  return {};
}

Result<void> FakeDirectory::WriteAll(std::span<const Node> nodes) {
  if (write_error_) return Fail(*write_error_, "writes fail");
  for (const Node& node : nodes) {
    Put(node.path, node.value);
    if (node.permissions) nodes_[node.path].permissions = node.permissions;
  }
  return {};
}

Result<void> FakeDirectory::Remove(const std::string& path) {
  if (write_error_) return Fail(*write_error_, "writes fail");
  std::vector<std::string> gone;
  for (const auto& [node, entry] : nodes_) {
    if (IsAtOrBelow(node, path)) gone.push_back(node);
  }
  for (const std::string& node : gone) {
    nodes_.erase(node);
    Fire(node);
  }
  return {};
}

Result<void> FakeDirectory::Watch(const std::string& path, const std::string& token) {
  watches_.emplace_back(path, token);
  events_.push_back({.path = path, .token = token});
  events_bell_.Ring();
  return {};
}

Result<void> FakeDirectory::Unwatch(const std::string& path, const std::string& token) {
  const auto at = std::ranges::find(watches_, std::pair(path, token));
  if (at == watches_.end()) return Fail(ErrorCode::kNotFound, "not watched");
  watches_.erase(at);
  return {};
}

std::optional<Directory::WatchEvent> FakeDirectory::NextEvent() {
  if (events_.empty()) return std::nullopt;
  WatchEvent event = std::move(events_.front());
  events_.pop_front();
  if (events_.empty()) events_bell_.Silence();
  return event;
}

void FakeDirectory::Fire(std::string_view path) {
  for (const auto& [watched, token] : watches_) {
    if (!IsAtOrBelow(path, watched)) continue;
    events_.push_back({.path = std::string(path), .token = token});
    events_bell_.Ring();
  }
}

std::string FakeDirectory::ValueOf(const std::string& path) const {
  const auto at = nodes_.find(path);
  return at == nodes_.end() ? "" : at->second.value;
}

Directory::Permissions FakeDirectory::PermissionsOf(const std::string& path) const {
  for (std::string node = path; !node.empty(); node = Parent(node)) {
    const auto at = nodes_.find(node);
    if (at != nodes_.end() && at->second.permissions) return *at->second.permissions;
  }
  return {};
}

std::vector<std::string> FakeDirectory::TakeHistory(const std::string& path) {
  return std::exchange(history_[path], {});
}

// ---- guests ----

FakeGuest::FakeGuest(GuestInfo info)
    : info_(std::move(info)), memory_fd_(::memfd_create("guest", MFD_CLOEXEC)) {
  Require(memory_fd_ && ::ftruncate(memory_fd_.get(), kMaxPages * kPageSize) == 0);
  void* const at = ::mmap(nullptr, kMaxPages * kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED,
                          memory_fd_.get(), 0);
  Require(at != MAP_FAILED);
  memory_ = static_cast<std::byte*>(at);
}

FakeGuest::~FakeGuest() { ::munmap(memory_, kMaxPages * kPageSize); }

GrantRef FakeGuest::Grant(size_t pages) {
  Require(granted_ + pages <= kMaxPages);
  const GrantRef first{static_cast<uint32_t>(kFirstRef + granted_)};
  granted_ += pages;
  return first;
}

std::span<std::byte> FakeGuest::Pages(GrantRef first, size_t count) const {
  Require(first.value >= kFirstRef && first.value - kFirstRef + count <= granted_);
  return {memory_ + (first.value - kFirstRef) * kPageSize, count * kPageSize};
}

bool FakeGuest::Granted(GrantRef ref) const {
  return ref.value >= kFirstRef && ref.value - kFirstRef < granted_ && !revoked_.contains(ref);
}

EventPort FakeGuest::AllocPort() {
  ports_.push_back(std::make_shared<FakePort>());
  return EventPort{static_cast<uint32_t>(ports_.size())};
}

std::shared_ptr<FakePort> FakeGuest::port(EventPort port) const {
  if (port.value == 0 || port.value > ports_.size()) return nullptr;
  return ports_[port.value - 1];
}

// ---- hypervisor ----

Result<std::vector<GuestInfo>> FakeHypervisor::Guests() {
  std::vector<GuestInfo> infos;
  for (const auto& [id, guest] : guests_) infos.push_back(guest->info());
  return infos;
}

Result<PhysicalMemory> FakeHypervisor::Memory() { return memory ? *memory : Hypervisor::Memory(); }

Result<void> FakeHypervisor::SetBackendTarget(Bytes target) {
  if (fail_targets || !memory) return Fail(ErrorCode::kSystem, "no balloon");
  memory->target = target;
  return {};
}

Result<std::unique_ptr<SharedPages>> FakeHypervisor::Map(GuestId guest,
                                                         std::span<const GrantRef> refs) {
  ++maps_;
  if (map_error_) return Fail(*map_error_, "mapping fails");
  const auto at = guests_.find(guest);
  if (at == guests_.end()) return Fail(ErrorCode::kNotFound, "no such guest");
  const std::shared_ptr<FakeGuest>& owner = at->second;
  bool consecutive = true;
  for (size_t i = 0; i < refs.size(); ++i) {
    if (!owner->Granted(refs[i])) {
      return Fail(ErrorCode::kInvalid, fmt::format("reference {} is not granted", refs[i].value));
    }
    consecutive &= refs[i].value == refs[0].value + i;
  }
  if (consecutive) {
    return std::make_unique<FakePages>(owner, owner->Pages(refs[0], refs.size()), false, mapped_);
  }
  const size_t size = refs.size() * kPageSize;
  void* const window = ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  Require(window != MAP_FAILED);
  auto* const bytes = static_cast<std::byte*>(window);
  for (size_t i = 0; i < refs.size(); ++i) {
    const auto offset = static_cast<off_t>((refs[i].value - FakeGuest::kFirstRef) * kPageSize);
    Require(::mmap(bytes + i * kPageSize, kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                   owner->memory_fd(), offset) != MAP_FAILED);
  }
  return std::make_unique<FakePages>(owner, std::span(bytes, size), true, mapped_);
}

Result<std::unique_ptr<EventChannel>> FakeHypervisor::Bind(GuestId guest, EventPort port) {
  ++binds_;
  if (ports_held_) return Fail(ErrorCode::kUnavailable, "a dying process holds the port");
  const auto at = guests_.find(guest);
  const auto found = at == guests_.end() ? nullptr : at->second->port(port);
  if (found == nullptr) return Fail(ErrorCode::kInvalid, "no such port");
  if (found->bound) return Fail(ErrorCode::kUnavailable, "the port is bound");
  return std::make_unique<FakeChannel>(found);
}

std::shared_ptr<FakeGuest> FakeHypervisor::AddGuest(uint16_t domid, std::string_view name,
                                                    const Uuid& uuid) {
  auto guest = std::make_shared<FakeGuest>(
      GuestInfo{.id = GuestId{domid}, .name = std::string(name), .uuid = uuid});
  guests_[GuestId{domid}] = guest;
  directory_.Fire(kIntroduceDomain);
  return guest;
}

std::shared_ptr<FakeGuest> FakeHypervisor::GuestOf(uint16_t domid) const {
  const auto at = guests_.find(GuestId{domid});
  return at == guests_.end() ? nullptr : at->second;
}

void FakeHypervisor::RemoveGuest(uint16_t domid) {
  guests_.erase(GuestId{domid});
  (void)directory_.Remove(fmt::format("/local/domain/{}", domid));
  directory_.Fire(kReleaseDomain);
}

}  // namespace tmem
