// One queue with both its ends, a store behind it, and nothing between: tests call Process.
#ifndef TMEM_TESTS_HYPERCALL_QUEUE_RIG_H_
#define TMEM_TESTS_HYPERCALL_QUEUE_RIG_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "compress/page_codec.h"
#include "hypercall/fake_hypervisor.h"
#include "hypercall/queue.h"
#include "hypercall/test_frontend.h"
#include "pools/store.h"

namespace tmem {

inline constexpr PageCount kAmpleBudget{1'000'000};

class QueueRig {
 public:
  struct Config {
    uint32_t order = 0;
    uint32_t slots = 64;
    bool may_post = true;
    uint32_t at = UINT32_MAX - 40;  // where the ring's indices begin: they wrap soon
    Bytes capacity = MiB(64);
    GuestSettings settings;
  };

  QueueRig() : QueueRig(Config{}) {}
  explicit QueueRig(const Config& config);

  Store& store() { return *store_; }
  Guest& guest() { return *guest_; }
  GuestId id() const { return kId; }
  FrontQueue& front() { return *front_; }
  Queue& queue() { return *queue_; }
  PageCodec& codec() { return codec_; }
  const std::vector<std::string>& violations() const { return violations_; }

  // Ends the queue, and begins another one on the same memory.
  void Restart();
  void Configure(const GuestSettings& settings);

  Queue::Turn Process(PageCount budget = kAmpleBudget) { return queue_->Process(codec_, budget); }

  // Sends the requests, as many at once as the ring takes, and returns their responses. Stops
  // short when the queue breaks.
  std::vector<tmemif_response> RunAll(std::span<const tmemif_request> requests);
  tmemif_response Run(const tmemif_request& request);
  // Its id. Aborts if there is none.
  uint32_t NewPool(uint32_t flags);

  void FillSlot(uint32_t slot, uint64_t seed);
  bool SlotHolds(uint32_t slot, uint64_t seed);

 private:
  static constexpr GuestId kId{1};

  const Config config_;
  FakeHypervisor hypervisor_;
  const std::shared_ptr<FakeGuest> fake_guest_;
  const std::unique_ptr<Store> store_;
  const std::shared_ptr<Guest> guest_;
  const std::unique_ptr<FrontQueue> front_;
  std::unique_ptr<Queue> queue_;
  PageCodec codec_;
  std::vector<std::string> violations_;
};

}  // namespace tmem

#endif  // TMEM_TESTS_HYPERCALL_QUEUE_RIG_H_
