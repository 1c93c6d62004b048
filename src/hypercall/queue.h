// One queue of one connection: takes requests off a ring, executes them in order against the
// store, and answers.
//
// The ring and the data slots are shared with a guest that may be hostile. A request is copied out
// of the ring once and checked as a whole; a page is copied out of its slot once before anything
// looks at it. Whatever a correct frontend cannot send is a violation: the queue stops for good,
// answers nothing more, and tells its owner.
//
// Threads: Process, Arm and Acknowledge are called by one worker at a time; the counters may be
// read by any thread.
#ifndef TMEM_HYPERCALL_QUEUE_H_
#define TMEM_HYPERCALL_QUEUE_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/units.h"
#include "compress/page_codec.h"
#include "hypercall/abi/tmemif.h"
#include "hypercall/operation_times.h"
#include "hypercall/request.h"
#include "hypercall/ring.h"
#include "hypercall/transport.h"
#include "pools/store.h"

namespace tmem {

class Queue {
 public:
  enum class Turn {
    kIdle,    // no request is waiting
    kMore,    // the budget is used up; more is waiting
    kBroken,  // the frontend violated the protocol; Process does nothing from now on
  };

  // What the handshake agreed on and mapped.
  struct Parts {
    std::unique_ptr<SharedPages> ring;   // TMEMIF_RING_BYTES(ring_page_order)
    std::unique_ptr<SharedPages> slots;  // one page a slot
    std::unique_ptr<EventChannel> channel;
    uint32_t ring_page_order = 0;
    Agreement agreement;
    uint32_t number = 0;  // among the connection's queues
  };

  // Called once, from the worker, with the reason of a violation.
  using OnViolation = std::function<void(std::string_view reason)>;

  // Continues from the ring's own indices: requests at and after rsp_prod are executed.
  Queue(Store& store, std::shared_ptr<Guest> guest, Parts parts, OnViolation on_violation);

  // Executes requests until none is waiting or about `budget` pages were moved, then notifies the
  // frontend if it asked for that. Flushes of large objects and pools go on in later turns.
  // Some requests are timed for `times`, if it is given.
  Turn Process(PageCodec& codec, PageCount budget, OperationTimes* times = nullptr);

  // Asks the frontend to notify us of the next request. True if one came meanwhile, or is not
  // finished: do not sleep. A broken queue waits for nothing.
  bool Arm();

  // Readable when the frontend notified.
  int event_fd() const { return parts_.channel->fd(); }
  void Acknowledge() { parts_.channel->Acknowledge(); }

  uint64_t requests() const { return requests_.load(std::memory_order_relaxed); }
  uint64_t notifications() const { return notifications_.load(std::memory_order_relaxed); }

 private:
  // What became of a request in this turn.
  struct Outcome {
    bool finished = true;  // otherwise: to be executed again, to go on
    int32_t status = 0;
    uint64_t done = 0;
    uint64_t cost = 0;  // in pages moved, at most: what the turn's budget pays for
  };

  // Points request_ at the next request, unless there is one already. False if there is none.
  bool NextRequest(Turn& turn);
  void TakeRequests();
  // What the requests in hand will look at.
  void Prefetch();
  void PrefetchGroupAt(const tmemif_request& request, uint32_t k);
  void Finish(const Outcome& outcome);
  void Push();
  void Break(std::string_view reason);

  // Both execute the request in hand, or some of what there is to do for it, and return what that
  // costs the turn.
  uint64_t Execute(PageCodec& codec, OperationTimes* times);
  // Likewise those that follow it and may be executed together with it.
  // REQUIRES: IsForGroups(*request_).
  uint64_t ExecuteGroup(PageCodec& codec, PageCount budget, OperationTimes* times);

  // Whether it flushes pages, or puts some that may be stored.
  bool IsForGroups(const tmemif_request& request) const;
  std::span<const tmemif_request> TakeGroup(PageCount budget);
  // What became of each page: 1, or the negative error.
  using Statuses = std::array<int32_t, std::max<size_t>(TMEMIF_MAX_BATCH, Store::kGroup)>;
  void PutAll(std::span<const tmemif_request> requests, PageCodec& codec, Statuses& statuses);
  void FlushAll(std::span<const tmemif_request> requests, Statuses& statuses);
  static Outcome OutcomeOfPut(std::span<const int32_t> pages);
  static Outcome OutcomeOfFlush(std::span<const int32_t> pages);

  Outcome OutcomeOf(PageCodec& codec);
  // Of the request in hand.
  RingPosition Position() const;
  Outcome NewPool();
  Outcome DestroyPool();
  Outcome RefusePosted();
  Outcome GetPages(PageCodec& codec);
  Outcome FlushObject();
  std::byte* SlotAt(uint32_t slot) const { return parts_.slots->bytes().data() + slot * kPageSize; }

  const Parts parts_;
  Store& store_;
  const std::shared_ptr<Guest> guest_;
  const OnViolation on_violation_;
  BackRing ring_;
  const uint32_t first_;  // where we began: requests that wait there may have been executed before
  bool broken_ = false;
  // Requests in hand: copied, checked, not answered, and from next_ to taken_ not yet begun.
  std::array<tmemif_request, Store::kGroup> in_hand_;
  size_t next_ = 0;
  size_t taken_ = 0;
  const tmemif_request* request_ = nullptr;    // of those in hand, the one to be executed
  std::optional<std::string_view> violation_;  // of the request that follows them
  bool answered_waited_for_ = false;  // a response since the last push is not of a posted put
  // Objects that gets answered since the last push have read, as bits. Who goes on after us
  // executes those gets again: before anything changes their pages, their responses must show.
  uint64_t unshown_gets_ = 0;
  // The frontend asked for a notification. At first, it may have asked a backend before us that
  // died between its response and the notification.
  bool notify_ = true;
  alignas(64) std::array<std::byte, kPageSize> page_;  // private copy of the page in hand
  std::atomic<uint64_t> requests_{0};
  std::atomic<uint64_t> notifications_{0};
};

}  // namespace tmem

#endif  // TMEM_HYPERCALL_QUEUE_H_
