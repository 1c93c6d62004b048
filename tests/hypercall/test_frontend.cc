#include "hypercall/test_frontend.h"

#include <fmt/format.h>
#include <poll.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace tmem {

namespace {

// Long enough for the slowest machine under the slowest sanitizer: who waits for that has lost a
// wake-up, and the test should say so instead of hanging.
constexpr int kForeverMs = 120'000;

tmemif_oid OidOf(const ObjectId& object) {
  return {.word = {object.words[0], object.words[1], object.words[2]}};
}

tmemif_request PageRequest(uint8_t op, uint32_t pool, const ObjectId& object, uint32_t index,
                           uint32_t slot, uint32_t pages) {
  tmemif_request request{};
  request.op = op;
  request.pool = pool;
  request.u.page.oid = OidOf(object);
  request.u.page.index = index;
  request.u.page.slot = slot;
  request.u.page.nr_pages = pages;
  return request;
}

template <class T>
T& At(std::span<std::byte> bytes, size_t offset) {
  return *reinterpret_cast<T*>(bytes.data() + offset);
}

}  // namespace

tmemif_request NewPoolRequest(uint32_t flags, const Uuid& uuid) {
  tmemif_request request{};
  request.op = TMEMIF_OP_NEW_POOL;
  request.u.new_pool.flags = flags;
  request.u.new_pool.uuid[0] = uuid.words[0];
  request.u.new_pool.uuid[1] = uuid.words[1];
  return request;
}

tmemif_request DestroyPoolRequest(uint32_t pool) {
  tmemif_request request{};
  request.op = TMEMIF_OP_DESTROY_POOL;
  request.pool = pool;
  return request;
}

tmemif_request PutRequest(uint32_t pool, const ObjectId& object, uint32_t index, uint32_t slot,
                          uint32_t pages) {
  return PageRequest(TMEMIF_OP_PUT_PAGE, pool, object, index, slot, pages);
}

tmemif_request PostedPutRequest(uint32_t pool, const ObjectId& object, uint32_t index,
                                uint32_t slot, uint32_t pages) {
  tmemif_request request = PutRequest(pool, object, index, slot, pages);
  request.flags = TMEMIF_REQ_POSTED;
  return request;
}

tmemif_request GetRequest(uint32_t pool, const ObjectId& object, uint32_t index, uint32_t slot,
                          uint32_t pages) {
  return PageRequest(TMEMIF_OP_GET_PAGE, pool, object, index, slot, pages);
}

tmemif_request FlushPageRequest(uint32_t pool, const ObjectId& object, uint32_t index,
                                uint32_t pages) {
  return PageRequest(TMEMIF_OP_FLUSH_PAGE, pool, object, index, 0, pages);
}

tmemif_request FlushObjectRequest(uint32_t pool, const ObjectId& object) {
  tmemif_request request{};
  request.op = TMEMIF_OP_FLUSH_OBJECT;
  request.pool = pool;
  request.u.object.oid = OidOf(object);
  return request;
}

// ---- one queue ----

FrontQueue::FrontQueue(std::shared_ptr<FakeGuest> guest, uint32_t order, uint32_t slots,
                       uint32_t at)
    : guest_(std::move(guest)),
      order_(order),
      slots_(slots),
      event_port_(guest_->AllocPort()),
      port_(guest_->port(event_port_)),
      produced_(at),
      published_(at),
      consumed_(at) {
  const uint32_t ring_pages = 1u << order;
  const uint32_t refs = ring_pages + slots;
  const uint32_t directories = (refs + TMEMIF_DIRECTORY_REFS - 1) / TMEMIF_DIRECTORY_REFS;
  ring_ref_ = guest_->Grant(ring_pages);
  slots_ref_ = guest_->Grant(slots);
  directory_ref_ = guest_->Grant(directories);
  ring() = {.req_prod = at,
            .rsp_event = at + 1,
            .front_reserved = {},
            .rsp_prod = at,
            .req_event = at,
            .back_reserved = {}};
  for (uint32_t i = 0; i < refs; ++i) {
    const uint32_t page = i / TMEMIF_DIRECTORY_REFS;
    auto& directory =
        At<tmemif_directory>(guest_->Pages(directory_ref_, directories), page * kPageSize);
    const bool last = page + 1 == directories;
    directory.next = last ? TMEMIF_DIRECTORY_END : directory_ref_.value + page + 1;
    directory.count = i % TMEMIF_DIRECTORY_REFS + 1;
    directory.ref[i % TMEMIF_DIRECTORY_REFS] =
        i < ring_pages ? ring_ref_.value + i : slots_ref_.value + (i - ring_pages);
  }
}

Queue::Parts FrontQueue::Parts(FakeHypervisor& hypervisor, bool may_post) const {
  const auto map = [&](GrantRef first, uint32_t count) {
    std::vector<GrantRef> refs;
    for (uint32_t i = 0; i < count; ++i) refs.push_back(GrantRef{first.value + i});
    return std::move(hypervisor.Map(guest_->info().id, refs).value());
  };
  return {.ring = map(ring_ref_, 1u << order_),
          .slots = map(slots_ref_, slots_),
          .channel = std::move(hypervisor.Bind(guest_->info().id, event_port_).value()),
          .ring_page_order = order_,
          .agreement = {.slot_count = slots_, .may_post = may_post}};
}

tmemif_ring& FrontQueue::ring() const { return At<tmemif_ring>(ring_bytes(), 0); }

MutablePageView FrontQueue::Slot(uint32_t slot) const {
  return MutablePageView(guest_->Pages(GrantRef{slots_ref_.value + slot}, 1));
}

void FrontQueue::Produce(const tmemif_request& request) {
  if (free() == 0) std::abort();
  Rewrite(produced_++, request);
}

void FrontQueue::Rewrite(uint32_t index, const tmemif_request& request) {
  const size_t offset = TMEMIF_REQUESTS_OFFSET + index % entries() * sizeof(request);
  std::memcpy(ring_bytes().data() + offset, &request, sizeof(request));
}

bool FrontQueue::Publish() {
  const uint32_t before = std::exchange(published_, produced_);
  if (before == produced_) return false;
  // Release: pairs with the backend's acquire of req_prod.
  std::atomic_ref(ring().req_prod).store(produced_, std::memory_order_release);
  // Pairs with the fence in the backend's Arm.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const uint32_t event = std::atomic_ref(ring().req_event).load(std::memory_order_relaxed);
  if (!TMEMIF_NEEDS_NOTIFY(before, produced_, event)) return false;
  Notify();
  return true;
}

std::optional<tmemif_response> FrontQueue::Take() {
  // Acquire: pairs with the backend's release of rsp_prod.
  if (std::atomic_ref(ring().rsp_prod).load(std::memory_order_acquire) == consumed_) {
    return std::nullopt;
  }
  tmemif_response response;
  const size_t entry = consumed_ % entries();
  std::memcpy(
      &response,
      ring_bytes().data() + TMEMIF_RESPONSES_OFFSET(order_) + entry * sizeof(tmemif_response),
      sizeof(response));
  ++consumed_;
  return response;
}

bool FrontQueue::Arm() {
  std::atomic_ref(ring().rsp_event).store(consumed_ + 1, std::memory_order_relaxed);
  // Pairs with the fence in the backend's Push.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return std::atomic_ref(ring().rsp_prod).load(std::memory_order_acquire) != consumed_;
}

bool FrontQueue::Sleep() {
  pollfd poll_fd{.fd = port_->to_guest.fd(), .events = POLLIN, .revents = 0};
  if (::poll(&poll_fd, 1, kForeverMs) != 1) return false;
  TakeNotification();
  return true;
}

// ---- the device ----

TestFrontend::TestFrontend(FakeHypervisor& hypervisor, std::shared_ptr<FakeGuest> guest,
                           const FrontendOptions& options)
    : hypervisor_(hypervisor), guest_(std::move(guest)), options_(options) {
  MakeQueues();
}

void TestFrontend::MakeQueues() {
  queues_.clear();
  for (uint32_t i = 0; i < options_.queues; ++i) {
    queues_.push_back(
        std::make_unique<FrontQueue>(guest_, options_.ring_page_order, options_.slots));
  }
}

void TestFrontend::WriteKeys() {
  WriteKey("version", fmt::format("{}", TMEMIF_VERSION));
  WriteKey("num-queues", fmt::format("{}", options_.queues));
  WriteKey("ring-page-order", fmt::format("{}", options_.ring_page_order));
  WriteKey("num-slots", fmt::format("{}", options_.slots));
  WriteKey("feature-posted-put", options_.may_post ? "1" : "0");
  for (uint32_t i = 0; i < options_.queues; ++i) {
    WriteKey(fmt::format("queue-{}/directory-ref", i),
             fmt::format("{}", queue(i).directory_ref().value));
    WriteKey(fmt::format("queue-{}/event-channel", i),
             fmt::format("{}", queue(i).event_port().value));
  }
}

void TestFrontend::WriteKey(std::string_view name, const std::string& value) {
  (void)hypervisor_.directory().Write(fmt::format("{}/{}", FrontendPath(guest_->info().id), name),
                                      value);
}

void TestFrontend::RemoveKey(std::string_view name) {
  (void)hypervisor_.directory().Remove(fmt::format("{}/{}", FrontendPath(guest_->info().id), name));
}

void TestFrontend::SetState(XenbusState state) { WriteKey(keys::kState, ToNode(state)); }

XenbusState TestFrontend::BackendState() const {
  return ParseXenbusState(BackendKey(keys::kState));
}

std::string TestFrontend::BackendKey(std::string_view name) const {
  return hypervisor_.directory().ValueOf(
      fmt::format("{}/{}", BackendPath(guest_->info().id), name));
}

void TestFrontend::Initialise() {
  WriteKeys();
  SetState(XenbusState::kInitialised);
}

}  // namespace tmem
