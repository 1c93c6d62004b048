#include "client/front_ring.h"

#include <array>
#include <atomic>
#include <cstring>

namespace tmem::client {

FrontRing::FrontRing(std::span<std::byte> memory, uint32_t order)
    : shared_(*reinterpret_cast<tmemif_ring*>(memory.data())),
      memory_(memory.data()),
      order_(order) {}

bool FrontRing::Push(const tmemif_request& request) {
  std::memcpy(memory_ + TMEMIF_REQUESTS_OFFSET + sizeof(tmemif_request) * (produced_ % entries()),
              &request, sizeof(request));
  ++produced_;
  // Release: pairs with the acquire of req_prod in BackRing::Take; request and slots are written.
  std::atomic_ref(shared_.req_prod).store(produced_, std::memory_order_release);
  // The store of req_prod before the load of req_event: pairs with the fence in BackRing::Arm,
  // between its store of req_event and its last look at req_prod. One of the two sees the other.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const uint32_t event = std::atomic_ref(shared_.req_event).load(std::memory_order_relaxed);
  return TMEMIF_NEEDS_NOTIFY(produced_ - 1, produced_, event);
}

FrontRing::Taken FrontRing::Take(tmemif_response& response) {
  // Acquire: pairs with the release of rsp_prod in BackRing::Push; responses and the pages of gets
  // are written.
  const uint32_t shown = std::atomic_ref(shared_.rsp_prod).load(std::memory_order_acquire);
  if (shown - consumed_ > unanswered()) return Taken::kOverrun;
  if (shown == consumed_) return Taken::kNothing;
  // Word by word, each read once: what is checked afterwards is the copy.
  auto* const from = reinterpret_cast<uint64_t*>(memory_ + TMEMIF_RESPONSES_OFFSET(order_) +
                                                 sizeof(tmemif_response) * (consumed_ % entries()));
  std::array<uint64_t, sizeof(tmemif_response) / sizeof(uint64_t)> words;
  for (size_t i = 0; i < words.size(); ++i) {
    words[i] = std::atomic_ref(from[i]).load(std::memory_order_relaxed);
  }
  std::memcpy(&response, words.data(), sizeof(response));
  ++consumed_;
  return Taken::kResponse;
}

bool FrontRing::Arm() {
  std::atomic_ref(shared_.rsp_event).store(consumed_ + 1, std::memory_order_relaxed);
  // The store of rsp_event before the load of rsp_prod: pairs with the fence in BackRing::Push,
  // between its store of rsp_prod and its load of rsp_event.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return HasAnswered(consumed_);
}

bool FrontRing::HasAnswered(uint32_t consumed) const {
  return std::atomic_ref(shared_.rsp_prod).load(std::memory_order_acquire) != consumed;
}

}  // namespace tmem::client
