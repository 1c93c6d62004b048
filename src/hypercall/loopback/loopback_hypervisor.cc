#include "hypercall/loopback/loopback_hypervisor.h"

#include <utility>

#include "hypercall/loopback/listener.h"
#include "hypercall/loopback/physical_memory.h"
#include "hypercall/loopback/realm.h"
#include "hypercall/loopback/server.h"

namespace tmem::loopback {

namespace {

// The tree as domain 0 sees it.
class RealmDirectory final : public Directory {
 public:
  RealmDirectory(Realm& realm, const Bell& bell) : realm_(realm), bell_(bell) {}

  Result<std::string> Read(const std::string& path) override {
    return realm_.Read(kBackendDomain, path);
  }
  Result<std::vector<std::string>> List(const std::string& path) override {
    return realm_.List(kBackendDomain, path);
  }
  Result<void> Write(const std::string& path, const std::string& value) override {
    return realm_.Write(kBackendDomain, path, value);
  }
  Result<void> WriteAll(std::span<const Node> nodes) override { return realm_.WriteAll(nodes); }
  Result<void> Remove(const std::string& path) override {
    return realm_.Remove(kBackendDomain, path);
  }
  Result<void> Watch(const std::string& path, const std::string& token) override {
    return realm_.Watch(kBackendDomain, path, token);
  }
  Result<void> Unwatch(const std::string& path, const std::string& token) override {
    return realm_.Unwatch(kBackendDomain, path, token);
  }
  int fd() const override { return bell_.fd(); }

  std::optional<WatchEvent> NextEvent() override {
    if (auto event = realm_.NextEvent(kBackendDomain)) return event;
    bell_.Silence();
    // An event may have come, and rung, between the look and the silence: look again, and ring for
    // those behind it.
    auto event = realm_.NextEvent(kBackendDomain);
    if (event) bell_.Ring();
    return event;
  }

 private:
  Realm& realm_;
  const Bell& bell_;
};

}  // namespace

class LoopbackHypervisor::Impl {
 public:
  Impl(Bell backend_bell, Bell server_bell, Duration return_time)
      : return_time_(return_time),
        backend_bell_(std::move(backend_bell)),
        server_bell_(std::move(server_bell)) {}

  Result<void> Listen(const Config& config) {
    auto listener = Listener::Create(config.socket_path, config.socket_mode);
    if (!listener) return std::unexpected(std::move(listener).error());
    auto server = Server::Create(*std::move(listener), realm_, server_bell_);
    if (!server) return std::unexpected(std::move(server).error());
    server_ = *std::move(server);
    return {};
  }

  void Expect(std::span<const GuestInfo> guests) {
    realm_.Expect(guests, SteadyClock().Now() + return_time_);
  }

  std::vector<GuestInfo> Guests() {
    // Those who wait at the socket may be expected: they are let in when it is known who is.
    if (!std::exchange(started_, true)) server_->Start();
    return realm_.Guests();
  }

  Realm& realm() { return realm_; }
  RealmDirectory& directory() { return directory_; }

 private:
  const Duration return_time_;
  const Bell backend_bell_;
  const Bell server_bell_;
  Realm realm_{backend_bell_, server_bell_};
  RealmDirectory directory_{realm_, backend_bell_};
  bool started_ = false;
  std::unique_ptr<Server> server_;  // last: its thread uses all of the above
};

LoopbackHypervisor::LoopbackHypervisor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LoopbackHypervisor::~LoopbackHypervisor() = default;

Result<std::unique_ptr<LoopbackHypervisor>> LoopbackHypervisor::Create(const Config& config) {
  auto backend_bell = Bell::Create();
  if (!backend_bell) return std::unexpected(std::move(backend_bell).error());
  auto server_bell = Bell::Create();
  if (!server_bell) return std::unexpected(std::move(server_bell).error());
  auto impl =
      std::make_unique<Impl>(*std::move(backend_bell), *std::move(server_bell), config.return_time);
  TMEM_TRY(impl->Listen(config));
  return std::unique_ptr<LoopbackHypervisor>(new LoopbackHypervisor(std::move(impl)));
}

Directory& LoopbackHypervisor::directory() { return impl_->directory(); }

Result<std::vector<GuestInfo>> LoopbackHypervisor::Guests() { return impl_->Guests(); }

Result<PhysicalMemory> LoopbackHypervisor::Memory() { return ReadPhysicalMemory(directory()); }

Result<void> LoopbackHypervisor::SetBackendTarget(Bytes target) {
  return loopback::SetBackendTarget(directory(), target);
}

void LoopbackHypervisor::Expect(std::span<const GuestInfo> guests) { impl_->Expect(guests); }

Result<std::unique_ptr<SharedPages>> LoopbackHypervisor::Map(GuestId guest,
                                                             std::span<const GrantRef> refs) {
  const auto memory = impl_->realm().MemoryOf(guest);
  if (!memory) return std::unexpected(memory.error());
  return (*memory)->Map(refs);
}

Result<std::unique_ptr<EventChannel>> LoopbackHypervisor::Bind(GuestId guest, EventPort port) {
  const auto found = impl_->realm().PortOf(guest, port);
  if (!found) return std::unexpected(found.error());
  return (*found)->Bind();
}

}  // namespace tmem::loopback
