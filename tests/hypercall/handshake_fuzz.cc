// libFuzzer: any keys and any directory pages. An offer is refused, or what is mapped of it lies
// within what was announced.
#include <fmt/format.h>
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "hypercall/fake_hypervisor.h"
#include "hypercall/handshake.h"
#include "hypercall/xenbus.h"

namespace tmem {
namespace {

constexpr WireLimits kLimits{.max_queues = 2, .max_ring_page_order = 1, .max_slots = 8};
constexpr uint32_t kPages = 16;

void Demand(bool condition) {
  if (!condition) std::abort();
}

// A number near those that matter, or anything.
std::string AnyValue(FuzzedDataProvider& data) {
  if (data.ConsumeBool()) return fmt::format("{}", data.ConsumeIntegralInRange(0, 24));
  return data.ConsumeRandomLengthString(12);
}

void WriteKeys(FuzzedDataProvider& data, FakeHypervisor& hypervisor, const std::string& frontend) {
  const auto write = [&](std::string_view key, const std::string& value) {
    (void)hypervisor.directory().Write(fmt::format("{}/{}", frontend, key), value);
  };
  // Most of them right, so that the rest is reached.
  const auto often = [&](const char* right) {
    return data.ConsumeIntegralInRange(0, 7) != 0 ? std::string(right) : AnyValue(data);
  };
  write("version", often("1"));
  write("num-queues", often("2"));
  write("ring-page-order", often("1"));
  write("num-slots", often("6"));
  write("feature-posted-put", often("1"));
  for (const char* queue : {"queue-0", "queue-1"}) {
    write(fmt::format("{}/directory-ref", queue), AnyValue(data));
    write(fmt::format("{}/event-channel", queue), AnyValue(data));
  }
}

void Run(FuzzedDataProvider& data) {
  FakeHypervisor hypervisor;
  const auto guest = hypervisor.AddGuest(1, "guest", {});
  const GrantRef first = guest->Grant(kPages);
  for (int i = 0; i < 3; ++i) guest->AllocPort();
  WriteKeys(data, hypervisor, FrontendPath(guest->info().id));
  // Small words here and there: counts, references, and what should be zero.
  const auto bytes = guest->Pages(first, kPages);
  while (data.remaining_bytes() > 0) {
    const auto page = data.ConsumeIntegralInRange<size_t>(0, 3);
    const auto word = data.ConsumeIntegralInRange<size_t>(0, 15);
    const uint32_t value = data.ConsumeBool() ? data.ConsumeIntegralInRange<uint32_t>(0, 24)
                                              : data.ConsumeIntegral<uint32_t>();
    std::memcpy(bytes.data() + page * kPageSize + word * sizeof(value), &value, sizeof(value));
  }
  if (data.remaining_bytes() == 0) guest->Revoke(GrantRef{first.value + kPages - 1});

  const auto offer = ReadOffer(hypervisor.directory(), FrontendPath(guest->info().id), kLimits);
  if (!offer) return Demand(offer.error().code == ErrorCode::kInvalid);
  Demand(offer->queues.size() >= 1 && offer->queues.size() <= kLimits.max_queues &&
         offer->ring_page_order <= kLimits.max_ring_page_order && offer->slot_count >= 1 &&
         offer->slot_count <= kLimits.max_slots);
  const auto parts = MapOffer(hypervisor, guest->info().id, *offer);
  if (!parts) return Demand(parts.error().code == ErrorCode::kInvalid && hypervisor.mapped() == 0);
  Demand(parts->size() == offer->queues.size());
  for (const Queue::Parts& part : *parts) {
    Demand(part.ring->bytes().size() == TMEMIF_RING_BYTES(offer->ring_page_order) &&
           part.slots->bytes().size() == offer->slot_count * kPageSize &&
           part.agreement.slot_count == offer->slot_count && part.channel != nullptr);
  }
}

}  // namespace
}  // namespace tmem

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  tmem::Run(data);
  return 0;
}
