// A frontend for tests: speaks the protocol (abi/tmemif.h) step by step, and breaks it at will.
//
// Threads: a FrontQueue belongs to one thread at a time; a TestFrontend to the control thread.
#ifndef TMEM_TESTS_HYPERCALL_TEST_FRONTEND_H_
#define TMEM_TESTS_HYPERCALL_TEST_FRONTEND_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"
#include "hypercall/abi/tmemif.h"
#include "hypercall/fake_hypervisor.h"
#include "hypercall/queue.h"
#include "hypercall/xenbus.h"

namespace tmem {

// ---- requests as a correct frontend writes them ----

tmemif_request NewPoolRequest(uint32_t flags, const Uuid& uuid = {});
tmemif_request DestroyPoolRequest(uint32_t pool);
tmemif_request PutRequest(uint32_t pool, const ObjectId& object, uint32_t index, uint32_t slot,
                          uint32_t pages = 1);
tmemif_request PostedPutRequest(uint32_t pool, const ObjectId& object, uint32_t index,
                                uint32_t slot, uint32_t pages = 1);
tmemif_request GetRequest(uint32_t pool, const ObjectId& object, uint32_t index, uint32_t slot,
                          uint32_t pages = 1);
tmemif_request FlushPageRequest(uint32_t pool, const ObjectId& object, uint32_t index,
                                uint32_t pages = 1);
tmemif_request FlushObjectRequest(uint32_t pool, const ObjectId& object);

// NEW_POOL flags with the version that must be in them.
inline constexpr uint32_t kVersionFlag = TMEMIF_SPEC_VERSION << TMEMIF_POOL_VERSION_SHIFT;
inline constexpr uint32_t kEphemeralPool = kVersionFlag;
inline constexpr uint32_t kPersistentPool = kVersionFlag | TMEMIF_POOL_PERSIST;
inline constexpr uint32_t kSharedPool = kVersionFlag | TMEMIF_POOL_SHARED;

// The frontend's half of one queue.
class FrontQueue {
 public:
  // Grants ring and slots, and writes the directory pages. `at` is the index to begin with: not
  // only 0, as the backend goes on wherever a ring stands.
  FrontQueue(std::shared_ptr<FakeGuest> guest, uint32_t order, uint32_t slots, uint32_t at = 0);

  GrantRef ring_ref() const { return ring_ref_; }
  GrantRef slots_ref() const { return slots_ref_; }
  GrantRef directory_ref() const { return directory_ref_; }
  EventPort event_port() const { return event_port_; }
  const FakePort& port() const { return *port_; }
  uint32_t entries() const { return TMEMIF_RING_ENTRIES(order_); }

  // What the handshake would have made of this queue.
  Queue::Parts Parts(FakeHypervisor& hypervisor, bool may_post = true) const;

  tmemif_ring& ring() const;
  std::span<std::byte> ring_bytes() const { return guest_->Pages(ring_ref_, 1u << order_); }
  MutablePageView Slot(uint32_t slot) const;

  // Requests that may be produced now.
  uint32_t free() const { return entries() - (produced_ - consumed_); }
  uint32_t produced() const { return produced_; }
  uint32_t consumed() const { return consumed_; }
  // Writes the next request; the backend sees it after Publish. REQUIRES: free() > 0.
  void Produce(const tmemif_request& request);
  // Writes over a request that was produced already.
  void Rewrite(uint32_t index, const tmemif_request& request);
  // Shows the requests produced, and notifies if the backend asked for it. True if it did.
  bool Publish();
  // The next response; nullopt if none is there.
  std::optional<tmemif_response> Take();
  // Asks to be notified of the next response. True if one is there already.
  bool Arm();
  // Blocks until notified. False if nothing came for so long that nothing ever will.
  bool Sleep();
  bool TakeNotification() { return port_->to_guest.Silence(); }
  void Notify() { port_->to_backend.Ring(); }

 private:
  const std::shared_ptr<FakeGuest> guest_;
  const uint32_t order_;
  const uint32_t slots_;
  GrantRef ring_ref_;
  GrantRef slots_ref_;
  GrantRef directory_ref_;
  EventPort event_port_;
  std::shared_ptr<FakePort> port_;
  uint32_t produced_;
  uint32_t published_;
  uint32_t consumed_;
};

struct FrontendOptions {
  uint32_t queues = 1;
  uint32_t ring_page_order = 0;
  uint32_t slots = 32;
  bool may_post = true;
};

// A guest's tmem device. Each step of the handshake is a call of its own.
class TestFrontend {
 public:
  TestFrontend(FakeHypervisor& hypervisor, std::shared_ptr<FakeGuest> guest,
               const FrontendOptions& options = {});

  FakeGuest& guest() { return *guest_; }
  FrontQueue& queue(size_t i = 0) { return *queues_[i]; }

  // Fresh queues, as after the frontend's module was loaded again.
  void MakeQueues();
  void WriteKeys();
  void WriteKey(std::string_view name, const std::string& value);
  void RemoveKey(std::string_view name);
  void SetState(XenbusState state);
  XenbusState BackendState() const;
  std::string BackendKey(std::string_view name) const;

  // All of the above up to Initialised.
  void Initialise();

 private:
  FakeHypervisor& hypervisor_;
  const std::shared_ptr<FakeGuest> guest_;
  const FrontendOptions options_;
  std::vector<std::unique_ptr<FrontQueue>> queues_;
};

}  // namespace tmem

#endif  // TMEM_TESTS_HYPERCALL_TEST_FRONTEND_H_
