#include "hypercall/ring.h"

#include <array>
#include <atomic>
#include <cstring>

namespace tmem {

namespace {

uint32_t Load(uint32_t& field, std::memory_order order) {
  return std::atomic_ref<uint32_t>(field).load(order);
}

void Store(uint32_t& field, uint32_t value, std::memory_order order) {
  std::atomic_ref<uint32_t>(field).store(value, order);
}

}  // namespace

BackRing::BackRing(std::span<std::byte> memory, uint32_t order)
    : shared_(*reinterpret_cast<tmemif_ring*>(memory.data())),
      memory_(memory.data()),
      order_(order),
      // Acquire: pairs with the release of Push in a process that may be gone.
      responses_(Load(shared_.rsp_prod, std::memory_order_acquire)),
      taken_(responses_),
      produced_(responses_),
      pushed_(responses_) {}

const std::byte* BackRing::RequestAt(uint32_t i) const {
  return memory_ + TMEMIF_REQUESTS_OFFSET +
         sizeof(tmemif_request) * (i % TMEMIF_RING_ENTRIES(order_));
}

std::byte* BackRing::ResponseAt(uint32_t i) const {
  return memory_ + TMEMIF_RESPONSES_OFFSET(order_) +
         sizeof(tmemif_response) * (i % TMEMIF_RING_ENTRIES(order_));
}

BackRing::Taken BackRing::Take(tmemif_request& request) {
  if (taken_ == produced_) {
    // Acquire: pairs with the frontend's release of req_prod; the requests below it are written.
    produced_ = Load(shared_.req_prod, std::memory_order_acquire);
    // What was taken and not answered still holds its entries; req_prod never goes back behind it.
    const uint32_t held = taken_ - responses_;
    if (produced_ - taken_ > TMEMIF_RING_ENTRIES(order_) - held) return Taken::kOverrun;
    if (taken_ == produced_) return Taken::kNothing;
  }
  // Word by word, each read exactly once: a plain copy could be read again after the checks.
  std::array<uint64_t, sizeof(tmemif_request) / sizeof(uint64_t)> words;
  auto* const from = reinterpret_cast<uint64_t*>(const_cast<std::byte*>(RequestAt(taken_)));
  for (size_t i = 0; i < words.size(); ++i) {
    words[i] = std::atomic_ref<uint64_t>(from[i]).load(std::memory_order_relaxed);
  }
  std::memcpy(&request, words.data(), sizeof(request));
  ++taken_;
  return Taken::kRequest;
}

void BackRing::Answer(const tmemif_response& response) {
  std::memcpy(ResponseAt(responses_), &response, sizeof(response));
  ++responses_;
}

bool BackRing::Push() {
  const uint32_t before = pushed_;
  if (before == responses_) return false;
  pushed_ = responses_;
  // Release: pairs with the frontend's acquire of rsp_prod; responses and pages are written.
  Store(shared_.rsp_prod, pushed_, std::memory_order_release);
  // The store of rsp_prod before the load of rsp_event: pairs with the frontend's fence between
  // its store of rsp_event and its last look at rsp_prod.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const uint32_t event = Load(shared_.rsp_event, std::memory_order_relaxed);
  return TMEMIF_NEEDS_NOTIFY(before, pushed_, event);
}

bool BackRing::Arm() {
  Store(shared_.req_event, taken_ + 1, std::memory_order_relaxed);
  // The store of req_event before the load of req_prod: pairs with the frontend's fence between
  // its store of req_prod and its load of req_event.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return taken_ != produced_ || Load(shared_.req_prod, std::memory_order_acquire) != taken_;
}

}  // namespace tmem
