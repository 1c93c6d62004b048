// A backend for one guest that serves it well at first and then commits a deed.
//
//   evil_backend list             prints the names of the deeds
//   evil_backend DOMID DEED [N]   commits it after N requests (200); runs until SIGTERM
//
// It makes the guest's device anew, so that each run is a new backend to the frontend.
#include <fmt/format.h>
#include <poll.h>

#include <charconv>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "deeds.h"
#include "hypercall/handshake.h"
#include "hypercall/ring.h"
#include "hypercall/xen/xen_hypervisor.h"
#include "hypercall/xenbus.h"
#include "page_map.h"

namespace tmem::lab {
namespace {

// A queue that is served as the deed says.
class Server {
 public:
  Server(Queue::Parts parts, const Deed& deed, uint64_t& patience)
      : parts_(std::move(parts)),
        deed_(deed),
        patience_(patience),
        ring_(parts_.ring->bytes(), parts_.ring_page_order) {}

  int fd() const { return parts_.channel->fd(); }
  bool evil() const { return patience_ == 0; }

  void Serve(PageMap& pages) {
    parts_.channel->Acknowledge();
    do {
      tmemif_request request;
      while (ring_.Take(request) == BackRing::Taken::kRequest) {
        if (!evil() && --patience_ == 0) fmt::print("evil_backend: {} begins\n", deed_.name);
        if (evil() && deed_.silent) return;
        tmemif_response response = pages.Execute(request, parts_.slots->bytes());
        if (evil() && deed_.spoil != nullptr) deed_.spoil(response, request);
        ring_.Answer(response);
      }
      if (ring_.Push()) parts_.channel->Notify();
      if (evil() && deed_.spoil_ring != nullptr) SpoilRing();
      if (evil() && deed_.storms) parts_.channel->Notify();
    } while (ring_.Arm());
  }

 private:
  void SpoilRing() {
    deed_.spoil_ring(*reinterpret_cast<tmemif_ring*>(parts_.ring->bytes().data()),
                     parts_.ring_page_order);
    parts_.channel->Notify();
  }

  Queue::Parts parts_;
  const Deed& deed_;
  uint64_t& patience_;  // requests until the deed, all queues together
  BackRing ring_;
};

class Backend {
 public:
  Backend(Hypervisor& hypervisor, GuestId guest, const Deed& deed, uint64_t patience)
      : hypervisor_(hypervisor), guest_(guest), deed_(deed), patience_(patience) {}

  Result<void> Run();

 private:
  Result<void> MakeDevice();
  void SetState(XenbusState state) {
    (void)hypervisor_.directory().Write(BackendPath(guest_) + "/state", ToNode(state));
  }
  void FollowFrontend();
  void Connect();
  void Wait();

  Hypervisor& hypervisor_;
  const GuestId guest_;
  const Deed& deed_;
  uint64_t patience_;
  PageMap pages_;
  std::vector<Server> servers_;
};

Result<void> Backend::MakeDevice() {
  Directory& directory = hypervisor_.directory();
  const std::string back = BackendPath(guest_), front = FrontendPath(guest_);
  TMEM_TRY(directory.Remove(front));
  TMEM_TRY(directory.Remove(back));
  const Directory::Permissions ours{.owner = kBackendDomain, .reader = guest_};
  const Directory::Permissions theirs{.owner = guest_, .reader = kBackendDomain};
  std::vector<Directory::Node> nodes = {
      {back, "", ours},
      {back + "/frontend", front, {}},
      {back + "/frontend-id", fmt::format("{}", guest_.value), {}},
      {back + "/online", "1", {}},
      {back + "/versions", "1", {}},
      {back + "/max-queues", "2", {}},
      {back + "/max-ring-page-order", "4", {}},
      {back + "/max-slots", "512", {}},
      {back + "/max-batch", "64", {}},
      {back + "/feature-posted-put", "1", {}},
      {back + "/store-id", "00000000-0000-0000-0000-0000000000e1", {}},
      {back + "/state", ToNode(XenbusState::kInitWait), {}},
      {front, "", theirs},
      {front + "/backend", back, {}},
      {front + "/backend-id", "0", {}},
      {front + "/state", ToNode(XenbusState::kInitialising), {}},
  };
  if (!deed_.key.empty()) {
    nodes.push_back({fmt::format("{}/{}", back, deed_.key), std::string(deed_.value), {}});
  }
  TMEM_TRY(directory.WriteAll(nodes));
  return directory.Watch(front + "/state", "frontend");
}

void Backend::Connect() {
  const auto offer = ReadOffer(hypervisor_.directory(), FrontendPath(guest_), WireLimits{});
  auto parts = offer ? MapOffer(hypervisor_, guest_, *offer)
                     : Result<std::vector<Queue::Parts>>(std::unexpected(offer.error()));
  if (!parts) {
    fmt::print("evil_backend: {}\n", parts.error().message);
    return;
  }
  for (Queue::Parts& part : *parts) servers_.emplace_back(std::move(part), deed_, patience_);
  SetState(XenbusState::kConnected);
  fmt::print("evil_backend: connected\n");
  for (Server& server : servers_) server.Serve(pages_);
}

void Backend::FollowFrontend() {
  const auto text = hypervisor_.directory().Read(FrontendPath(guest_) + "/state");
  switch (text ? ParseXenbusState(*text) : XenbusState::kUnknown) {
    case XenbusState::kInitialised:
      if (servers_.empty()) Connect();
      break;
    case XenbusState::kClosing:
    case XenbusState::kClosed:
      servers_.clear();
      SetState(XenbusState::kClosed);
      break;
    case XenbusState::kInitialising:
      servers_.clear();
      SetState(XenbusState::kInitWait);
      break;
    default:
      break;
  }
}

// For the frontend's state, a notification, or the next round of a storm.
void Backend::Wait() {
  std::vector<pollfd> fds = {{.fd = hypervisor_.directory().fd(), .events = POLLIN, .revents = 0}};
  for (const Server& server : servers_) {
    fds.push_back({.fd = server.fd(), .events = POLLIN, .revents = 0});
  }
  const bool storm = patience_ == 0 && deed_.storms;
  (void)::poll(fds.data(), fds.size(), storm ? 0 : -1);
}

Result<void> Backend::Run() {
  TMEM_TRY(MakeDevice());
  for (;;) {
    Wait();
    while (hypervisor_.directory().NextEvent()) FollowFrontend();
    for (Server& server : servers_) server.Serve(pages_);
    if (patience_ == 0 && deed_.leaves && !servers_.empty()) {
      servers_.clear();
      SetState(XenbusState::kClosed);
    }
  }
}

template <class Number>
std::optional<Number> Parse(std::string_view text) {
  Number number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || rest != end) return std::nullopt;
  return number;
}

int Main(std::span<char*> words) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (words.size() == 2 && std::string_view(words[1]) == "list") {
    for (const Deed& deed : Deeds()) fmt::print("{}\n", deed.name);
    return 0;
  }
  const auto domid = words.size() > 1 ? Parse<uint16_t>(words[1]) : std::nullopt;
  const Deed* const deed = words.size() > 2 ? FindDeed(words[2]) : nullptr;
  const auto patience = words.size() > 3 ? Parse<uint64_t>(words[3]) : std::optional<uint64_t>(200);
  if (!domid || deed == nullptr || !patience || words.size() > 4) {
    fmt::print(stderr, "usage: evil_backend list | DOMID DEED [REQUESTS]\n");
    return 2;
  }
  const auto hypervisor = xen::ConnectToXen();
  const Result<void> end = hypervisor
                               ? Backend(**hypervisor, GuestId{*domid}, *deed, *patience).Run()
                               : Result<void>(std::unexpected(hypervisor.error()));
  fmt::print(stderr, "evil_backend: {}\n", end.error().message);
  return 1;
}

}  // namespace
}  // namespace tmem::lab

int main(int argc, char** argv) { return tmem::lab::Main({argv, static_cast<size_t>(argc)}); }
