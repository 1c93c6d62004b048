#include "hypercall/hostile_guest.h"

#include <algorithm>
#include <string>
#include <utility>

#include "pools/page_maker.h"

namespace tmem {

namespace {

// Byte by byte and volatile: no call that a sanitizer would follow.
__attribute__((noinline, no_sanitize("thread"))) void WriteUnseen(std::byte* to,
                                                                  const std::byte* from,
                                                                  size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) *static_cast<volatile std::byte*>(to + i) = from[i];
}

void WriteUnseen(uint32_t& to, uint32_t value) {
  WriteUnseen(reinterpret_cast<std::byte*>(&to), reinterpret_cast<const std::byte*>(&value),
              sizeof(value));
}

__attribute__((noinline, no_sanitize("thread"))) uint32_t ReadUnseen(const uint32_t& from) {
  return *static_cast<const volatile uint32_t*>(&from);
}

}  // namespace

HostileGuest::HostileGuest(FakeHypervisor& hypervisor, Backend& backend, uint16_t domid,
                           uint64_t seed)
    : hypervisor_(hypervisor), backend_(backend), domid_(domid), random_(seed) {
  Reboot();
  scribbler_ = std::thread([this, seed] { Scribble(seed); });
}

HostileGuest::~HostileGuest() {
  stopping_ = true;
  scribbler_.join();
}

uint64_t HostileGuest::Random() { return Mix(++random_); }

void HostileGuest::CountLife() {
  for (const ConnectionInfo& info : backend_.Connections()) {
    if (info.guest.id != GuestId{domid_}) continue;
    requests_ += info.requests;
    violations_ += info.reason.empty() ? 0 : 1;
  }
}

// The same domid, another guest.
void HostileGuest::Reboot() {
  if (frontend_) {
    CountLife();
    hypervisor_.RemoveGuest(domid_);
  }
  frontend_ = std::make_unique<TestFrontend>(
      hypervisor_, hypervisor_.AddGuest(domid_, "hostile", Uuid{{domid_, ++lives_}}),
      FrontendOptions{.queues = 2});
  turns_ = 0;
  backend_.HandleEvents();
  frontend_->Initialise();
  backend_.HandleEvents();
  const FrontQueue& queue = frontend_->queue(Random() % 2);
  const std::shared_ptr<FakeGuest> guest = hypervisor_.GuestOf(domid_);
  if (vice() == Vice::kRewritesSlots) {
    SetTarget(guest, guest->Pages(queue.slots_ref(), 32));
  } else if (vice() == Vice::kRewritesRequests) {
    SetTarget(guest, queue.ring_bytes().subspan(TMEMIF_REQUESTS_OFFSET));
  } else {
    SetTarget(guest, {});
  }
}

bool HostileGuest::Connected() { return frontend_->BackendState() == XenbusState::kConnected; }

void HostileGuest::Turn() {
  // Some lives end while connected, and while requests are under way.
  if (!Connected() || ++turns_ > kTurnsALife) return Reboot();
  for (int i = 0; i < 8; ++i) Attack(frontend_->queue(Random() % 2));
}

tmemif_request HostileGuest::AnyRequest() {
  const ObjectId object = MakeObjectId(Random() % 6);
  const auto pool = static_cast<uint32_t>(Random() % 4);
  const auto index = static_cast<uint32_t>(Random() % 48);
  const auto slot = static_cast<uint32_t>(Random() % 32);
  switch (Random() % 7) {
    case 0:
      return NewPoolRequest(Random() % 2 == 0 ? kPersistentPool : kEphemeralPool);
    case 1:
      return DestroyPoolRequest(pool);
    case 2:
      return GetRequest(pool, object, index, slot);
    case 3:
      return FlushPageRequest(pool, object, index);
    case 4:
      return FlushObjectRequest(pool, object);
    case 5:
      return PostedPutRequest(pool, object, index, slot);
    default:
      return PutRequest(pool, object, index, slot);
  }
}

void HostileGuest::Attack(FrontQueue& queue) {
  tmemif_request request = AnyRequest();
  if (vice() == Vice::kBadRequests && Random() % 16 == 0) {
    reinterpret_cast<uint8_t*>(&request)[Random() % sizeof(request)] ^=
        static_cast<uint8_t>(1u << Random() % 8);
  }
  tmemif_ring& ring = queue.ring();
  const uint32_t produced = ReadUnseen(ring.req_prod);
  const bool full = produced - ReadUnseen(ring.rsp_prod) >= queue.entries();
  if (!full || vice() == Vice::kBadIndices) {
    const size_t offset =
        TMEMIF_REQUESTS_OFFSET + produced % queue.entries() * sizeof(tmemif_request);
    WriteUnseen(queue.ring_bytes().data() + offset, reinterpret_cast<const std::byte*>(&request),
                sizeof(request));
    // Release, for the machine: the request is written before the index.
    std::atomic_thread_fence(std::memory_order_release);
    WriteUnseen(ring.req_prod, produced + 1);
  }
  if (vice() == Vice::kBadIndices) BreakIndices(ring);
  queue.Notify();
}

void HostileGuest::BreakIndices(tmemif_ring& ring) {
  if (Random() % 4 == 0) WriteUnseen(ring.rsp_event, static_cast<uint32_t>(Random()));
  if (Random() % 4 == 0) WriteUnseen(ring.req_event, static_cast<uint32_t>(Random()));
  if (Random() % 32 == 0) WriteUnseen(ring.rsp_prod, static_cast<uint32_t>(Random()));
  if (Random() % 64 == 0) WriteUnseen(ring.req_prod, static_cast<uint32_t>(Random()));
}

void HostileGuest::SetTarget(std::shared_ptr<FakeGuest> guest, std::span<std::byte> bytes) {
  const std::lock_guard lock(target_mutex_);
  target_guest_ = std::move(guest);
  target_ = bytes;
}

// Changes what the backend is reading.
void HostileGuest::Scribble(uint64_t random) {
  for (; !stopping_; std::this_thread::yield()) {
    const std::lock_guard lock(target_mutex_);
    for (int i = 0; i < 64 && !target_.empty(); ++i) {
      random = Mix(random);
      const size_t at = random % target_.size();
      const auto value = static_cast<std::byte>(random >> 32);
      WriteUnseen(&target_[at], &value, 1);
    }
  }
}

}  // namespace tmem
