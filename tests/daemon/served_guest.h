// A guest with one queue, both ends at hand, for tests of what serves queues.
#ifndef TMEM_TESTS_DAEMON_SERVED_GUEST_H_
#define TMEM_TESTS_DAEMON_SERVED_GUEST_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "hypercall/fake_hypervisor.h"
#include "hypercall/queue.h"
#include "hypercall/test_frontend.h"
#include "pools/store.h"

namespace tmem {

class ServedGuest {
 public:
  static constexpr uint32_t kSlots = TMEMIF_MAX_BATCH;

  ServedGuest(
      FakeHypervisor& hypervisor, Store& store, uint16_t id,
      std::function<void(std::string_view)> on_violation = [](std::string_view) {})
      : front_(hypervisor.AddGuest(id, "guest" + std::to_string(id), Uuid{{id, id}}),
               /*order=*/0, kSlots),
        queue_(std::make_shared<Queue>(store, store.AddGuest(GuestId{id}, {}).value(),
                                       front_.Parts(hypervisor), std::move(on_violation))) {}

  FrontQueue& front() { return front_; }
  const std::shared_ptr<Queue>& queue() const { return queue_; }

  void Send(const tmemif_request& request) {
    front_.Produce(request);
    front_.Publish();
  }

  // Waits for the next response; nullopt if there will be none.
  std::optional<tmemif_response> Wait() {
    while (true) {
      if (const auto response = front_.Take()) return response;
      if (!front_.Arm() && !front_.Sleep()) return std::nullopt;
    }
  }

  // What no correct frontend sends.
  void BreakProtocol() {
    tmemif_request request{};
    request.op = 0xff;
    request.flags = 0xff;
    Send(request);
  }

 private:
  FrontQueue front_;
  std::shared_ptr<Queue> queue_;
};

}  // namespace tmem

#endif  // TMEM_TESTS_DAEMON_SERVED_GUEST_H_
