#include "client/fake_backend.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace tmem::client {

namespace {

constexpr int32_t kNoDevice = -TMEMIF_ENODEV;

std::tuple<uint32_t, uint64_t, uint64_t, uint64_t> ObjectOf(const tmemif_request& request) {
  const tmemif_oid& oid = request.u.page.oid;
  return {request.pool, oid.word[0], oid.word[1], oid.word[2]};
}

}  // namespace

// ---- the store ----

bool FakeStore::DoPage(const tmemif_request& request, uint32_t k, std::byte* slot) {
  const std::pair key(ObjectOf(request), request.u.page.index + k);
  if (request.op == TMEMIF_OP_PUT_PAGE) {
    std::memcpy(pages_[key].data(), slot, kPageSize);
    return true;
  }
  const auto at = pages_.find(key);
  if (request.op == TMEMIF_OP_FLUSH_PAGE) {
    if (at != pages_.end()) pages_.erase(at);
    return true;
  }
  if (at == pages_.end()) return false;
  std::memcpy(slot, at->second.data(), kPageSize);
  if (!*pools_[request.pool]) pages_.erase(at);
  return true;
}

tmemif_response FakeStore::Execute(const tmemif_request& request, std::span<std::byte> slots) {
  tmemif_response response{.id = request.id, .reserved = 0, .status = 1, .done = 0};
  if (request.op == TMEMIF_OP_NEW_POOL) {
    response.status = static_cast<int32_t>(pools_.size());
    pools_.push_back((request.u.new_pool.flags & TMEMIF_POOL_PERSIST) != 0);
    return response;
  }
  if (request.pool >= pools_.size() || !pools_[request.pool]) {
    response.status = kNoDevice;
    return response;
  }
  switch (request.op) {
    case TMEMIF_OP_DESTROY_POOL:
      pools_[request.pool].reset();
      std::erase_if(
          pages_, [&](const auto& page) { return std::get<0>(page.first.first) == request.pool; });
      break;
    case TMEMIF_OP_FLUSH_OBJECT:
      std::erase_if(pages_,
                    [&](const auto& page) { return page.first.first == ObjectOf(request); });
      break;
    default:
      for (uint32_t k = 0; k < request.u.page.nr_pages; ++k) {
        if (DoPage(request, k, slots.data() + (request.u.page.slot + k) * kPageSize)) {
          response.done |= uint64_t{1} << k;
        }
      }
      response.status = std::popcount(response.done);
  }
  return response;
}

// ---- the backend ----

FakeBackend::FakeBackend(const std::string& socket_path, Script script)
    : script_(std::move(script)) {
  auto hypervisor = loopback::LoopbackHypervisor::Create({.socket_path = socket_path});
  auto bell = loopback::Bell::Create();
  if (!hypervisor || !bell) return;
  hypervisor_ = *std::move(hypervisor);
  bell_.emplace(*std::move(bell));
  (void)hypervisor_->directory().Watch(std::string(kIntroduceDomain), "guests");
  (void)hypervisor_->directory().Watch(std::string(kReleaseDomain), "guests");
  if (script_.store) hypervisor_->Expect(script_.store->guests);
  (void)hypervisor_->Guests();
  thread_ = std::thread([this] { Run(); });
}

FakeBackend::~FakeBackend() {
  stop_ = true;
  if (bell_) bell_->Ring();
  if (thread_.joinable()) thread_.join();
}

void FakeBackend::Commit(Fault fault) {
  committed_ = fault;
  bell_->Ring();
  committed_.wait(fault);
}

std::vector<std::pair<uint32_t, tmemif_request>> FakeBackend::TakeLog() {
  MutexLock lock(log_mutex_);
  return std::exchange(log_, {});
}

void FakeBackend::Run() {
  while (!stop_ && !dying_) {
    more_ = false;
    HandleDirectory();
    const Fault fault = committed_;
    if (fault != Fault::kNone && !devices_.empty()) {
      Act(devices_.begin()->second, fault);
      committed_ = Fault::kNone;
      committed_.notify_all();
    }
    for (auto& [guest, device] : devices_) Serve(device);
    if (!dying_ && !more_) Sleep();
  }
  hypervisor_.reset();  // first the socket: as when a process is killed, nothing is said
  devices_.clear();
  dead_ = true;
  dead_.notify_all();
}

void FakeBackend::Sleep() {
  std::vector<pollfd> waits = {{bell_->fd(), POLLIN, 0},
                               {hypervisor_->directory().fd(), POLLIN, 0}};
  for (const auto& [guest, device] : devices_) {
    for (const ServedQueue& queue : device.queues) {
      waits.push_back({queue.parts.channel->fd(), POLLIN, 0});
    }
  }
  (void)::poll(waits.data(), waits.size(), -1);
  bell_->Silence();
  for (const auto& [guest, device] : devices_) {
    for (const ServedQueue& queue : device.queues) queue.parts.channel->Acknowledge();
  }
}

void FakeBackend::HandleDirectory() {
  bool guests_changed = false;
  while (const auto event = hypervisor_->directory().NextEvent()) {
    guests_changed |= event->token == "guests";
  }
  if (guests_changed) FollowGuests();
  for (auto& [guest, device] : devices_) {
    if (!dying_ && !device.silent) FollowFrontend(device);
  }
}

void FakeBackend::FollowGuests() {
  const std::vector<GuestInfo> guests = *hypervisor_->Guests();
  if (script_.store) script_.store->guests = guests;
  std::erase_if(devices_, [&](const auto& device) {
    return std::ranges::none_of(guests, [&](const auto& g) { return g.id == device.first; });
  });
  for (const GuestInfo& info : guests) {
    if (!script_.admit || devices_.contains(info.id)) continue;
    Device& device = devices_[info.id];
    device.guest = info.id;
    if (!Pass(device, Step::kIntroduced)) continue;
    WriteNodes(info.id);
    (void)hypervisor_->directory().Watch(FrontendPath(info.id) + "/state", "frontend");
    Pass(device, Step::kNodes);
  }
}

void FakeBackend::WriteNodes(GuestId guest) {
  const std::string front = FrontendPath(guest);
  const std::string back = BackendPath(guest);
  std::map<std::string, std::string> keys = {
      {"versions", "1"},
      {"max-queues", fmt::format("{}", script_.limits.max_queues)},
      {"max-ring-page-order", fmt::format("{}", script_.limits.max_ring_page_order)},
      {"max-slots", fmt::format("{}", script_.limits.max_slots)},
      {"max-batch", "64"},
      {"feature-posted-put", "1"},
      {"store-id", script_.store_id},
      {"state", "2"}};
  for (const auto& [key, value] : script_.keys) keys[key] = value;
  for (const std::string& key : script_.missing_keys) keys.erase(key);
  std::vector<Directory::Node> nodes = {{front, "", Directory::Permissions{guest, kBackendDomain}},
                                        {front + "/backend", back, {}},
                                        {front + "/state", "1", {}},
                                        {back, "", Directory::Permissions{kBackendDomain, guest}}};
  for (const auto& [key, value] : keys) nodes.push_back({back + "/" + key, value, {}});
  (void)hypervisor_->directory().WriteAll(nodes);
}

void FakeBackend::FollowFrontend(Device& device) {
  Directory& directory = hypervisor_->directory();
  const auto front =
      ParseXenbusState(directory.Read(FrontendPath(device.guest) + "/state").value_or(""));
  const auto back =
      ParseXenbusState(directory.Read(BackendPath(device.guest) + "/state").value_or(""));
  if (back == XenbusState::kInitWait && front == XenbusState::kInitialised) {
    if (Pass(device, Step::kOffered)) Connect(device);
  } else if (back == XenbusState::kClosed && front == XenbusState::kInitialising) {
    SetState(device, XenbusState::kInitWait);
  }
}

void FakeBackend::Connect(Device& device) {
  const auto offer =
      ReadOffer(hypervisor_->directory(), FrontendPath(device.guest), script_.limits);
  if (!offer) return;
  auto parts = MapOffer(*hypervisor_, device.guest, *offer);
  if (!parts) return;
  for (tmem::Queue::Parts& part : *parts) {
    auto ring = std::make_unique<BackRing>(part.ring->bytes(), part.ring_page_order);
    device.queues.push_back({std::move(part), std::move(ring)});
  }
  mapped_queues_ = static_cast<uint32_t>(device.queues.size());
  if (!Pass(device, Step::kMapped)) return;
  SetState(device, XenbusState::kConnected);
  Pass(device, Step::kConnected);
}

bool FakeBackend::Pass(Device& device, Step step) {
  if (!script_.fault) return true;
  const Fault fault = script_.fault(step);
  Act(device, fault);
  return fault == Fault::kNone;
}

void FakeBackend::Act(Device& device, Fault fault) {
  Directory& directory = hypervisor_->directory();
  switch (fault) {
    case Fault::kNone:
      break;
    case Fault::kDie:
      dying_ = true;
      break;
    case Fault::kStaySilent:
      device.silent = true;
      break;
    case Fault::kCloseWithError:
      (void)directory.Write(BackendPath(device.guest) + "/error", "because");
      device.silent = true;
      Close(device);
      break;
    case Fault::kClose:
      Close(device);
      break;
    case Fault::kTakeAway:
      device.queues.clear();
      device.silent = true;
      (void)directory.Remove(BackendPath(device.guest));
      (void)directory.Remove(FrontendPath(device.guest));
      break;
  }
}

void FakeBackend::Close(Device& device) {
  device.queues.clear();
  SetState(device, XenbusState::kClosing);
  SetState(device, XenbusState::kClosed);
}

void FakeBackend::SetState(const Device& device, XenbusState state) {
  (void)hypervisor_->directory().Write(BackendPath(device.guest) + "/state", ToNode(state));
}

void FakeBackend::Serve(Device& device) {
  if (device.silent) return;
  for (uint32_t i = 0; i < device.queues.size() && !dying_; ++i) {
    more_ |= ServeQueue(device.queues[i], i);
  }
}

bool FakeBackend::ServeQueue(ServedQueue& queue, uint32_t number) {
  tmemif_request request;
  bool answered = false;
  while (!queue.broken) {
    const BackRing::Taken taken = queue.ring->Take(request);
    queue.broken = taken == BackRing::Taken::kOverrun;
    if (taken != BackRing::Taken::kRequest) break;
    const uint64_t before = requests_.fetch_add(1);
    {
      MutexLock lock(log_mutex_);
      log_.emplace_back(number, request);
    }
    tmemif_response response = script_.store->Execute(request, queue.parts.slots->bytes());
    if (before + 1 >= script_.die_after_requests) {
      dying_ = true;
      return false;
    }
    if (script_.answer && !script_.answer(request, response)) {
      Spoil(queue);
      return false;
    }
    queue.ring->Answer(response);
    answered = true;
    if (queue.ring->Push()) queue.parts.channel->Notify();
  }
  if (answered) Spoil(queue);
  return !queue.broken && queue.ring->Arm();
}

void FakeBackend::Spoil(ServedQueue& queue) {
  if (!script_.spoil_ring) return;
  script_.spoil_ring(*reinterpret_cast<tmemif_ring*>(queue.parts.ring->bytes().data()));
  queue.parts.channel->Notify();
}

}  // namespace tmem::client
