#include "hypercall/queue_rig.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "pools/page_maker.h"

namespace tmem {

QueueRig::QueueRig(const Config& config)
    : config_(config),
      fake_guest_(hypervisor_.AddGuest(kId.value, "guest", {})),
      store_(std::move(Store::Create({.capacity = config.capacity}).value())),
      guest_(store_->AddGuest(kId, config.settings).value()),
      front_(std::make_unique<FrontQueue>(fake_guest_, config.order, config.slots, config.at)) {
  Restart();
}

void QueueRig::Restart() {
  queue_.reset();
  queue_ = std::make_unique<Queue>(
      *store_, guest_, front_->Parts(hypervisor_, config_.may_post),
      [this](std::string_view reason) { violations_.emplace_back(reason); });
}

void QueueRig::Configure(const GuestSettings& settings) {
  if (!store_->Configure(kId, settings)) std::abort();
}

std::vector<tmemif_response> QueueRig::RunAll(std::span<const tmemif_request> requests) {
  std::vector<tmemif_response> responses;
  auto next = requests.begin();
  while (responses.size() < requests.size()) {
    for (; next != requests.end() && front_->free() > 0; ++next) front_->Produce(*next);
    front_->Publish();
    if (Process() == Queue::Turn::kBroken) break;
    while (const auto response = front_->Take()) responses.push_back(*response);
  }
  return responses;
}

tmemif_response QueueRig::Run(const tmemif_request& request) {
  const auto responses = RunAll({&request, 1});
  if (responses.size() != 1) std::abort();
  return responses[0];
}

uint32_t QueueRig::NewPool(uint32_t flags) {
  const int32_t status = Run(NewPoolRequest(flags)).status;
  if (status < 0) std::abort();
  return static_cast<uint32_t>(status);
}

void QueueRig::FillSlot(uint32_t slot, uint64_t seed) {
  FillPage(PageLook::kText, seed, front_->Slot(slot));
}

bool QueueRig::SlotHolds(uint32_t slot, uint64_t seed) {
  return std::ranges::equal(front_->Slot(slot), MakePage(PageLook::kText, seed));
}

}  // namespace tmem
