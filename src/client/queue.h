// One queue of the client: submits operations to its ring, collects the responses, and lets
// threads wait.
//
// Waiting: any number of threads may wait, and each collects what has been answered. One of them
// at a time leads: it polls the ring for a while, then asks for a notification and sleeps on the
// channel. The others sleep until the thread that collects their answer, or stops leading, wakes
// them. Only the leader writes rsp_event and takes notifications, so none is lost: whatever is
// answered after it last looked, under the lock, crosses the index that it asked for.
//
// A thread that needs room (ring entries, data slots) waits in line, so that calls are executed in
// the order in which they began and a large batch is not starved by small ones. Completions of
// asynchronous operations are kept back while their collector stands in that line: they may submit,
// and would stand behind it for ever.
//
// The queue outlives connections. While there is no daemon, requests wait in the ring.
//
// Threads: any, unless stated otherwise.
#ifndef TMEM_CLIENT_QUEUE_H_
#define TMEM_CLIENT_QUEUE_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/adaptive_spin.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "client/front_ring.h"
#include "client/operation.h"
#include "client/slot_ring.h"
#include "hypercall/loopback/bell.h"
#include "hypercall/loopback/channel.h"

namespace tmem::client {

class Queue {
 public:
  struct Config {
    std::span<std::byte> ring;   // as FrontRing wants it
    std::span<std::byte> slots;  // one page a slot
    uint32_t ring_page_order = 0;
    uint32_t max_batch = 1;
    bool may_post = false;  // the daemon understands POSTED
    Duration spin{};        // poll at most this long before sleeping; Duration::max(): for ever
  };

  // What other threads than the caller's have to hear of.
  class Listener {
   public:
    virtual ~Listener() = default;
    // The completion of an asynchronous operation has run. No lock is held.
    virtual void CompletionRan() = 0;
    // A completion waits to be run that this thread may not run. No lock is held.
    virtual void CompletionWaits() = 0;
    // Nobody leads any more, after Lead() was refused. Called with the queue's lock held.
    virtual void LeadIsFree() = 0;
    // The daemon broke the protocol; the queue is dead. Called with the queue's lock held.
    virtual void DaemonBrokeProtocol() = 0;
  };

  // `channel` is the first connection's. The listener outlives the queue.
  Queue(const Config& config, loopback::GuestEnd channel, loopback::Bell bell, Listener& listener);

  // ---- operations ----

  // Executes the operation and returns its result. Waits for room, and for the answers.
  int Execute(Operation& operation);
  // Queues the operation, after waiting for room, and frees it after its completion ran. False if
  // the queue is dead; then the completion never runs.
  bool Submit(std::unique_ptr<Operation> operation);
  // Puts one page without anybody waiting for the answer. False if the queue is dead.
  bool Post(uint32_t pool, const tmem_oid& oid, uint32_t index, const std::byte* page);
  // Counts a put as sent and refused.
  void CountRefusedPut();

  // ---- waiting ----

  // Waits until no request is unanswered.
  void AwaitAllAnswered();
  bool AllAnswered();

  // Collects what has been answered and runs the completions. Returns how many ran.
  int Collect();

  // For waiting on several queues. Lead() makes the caller the leader, unless there is one, and
  // tells the index of the response to wait for. The leader polls Answered(index), asks for a
  // notification by Arm(), which is true if an answer came meanwhile, and polls the two
  // descriptors. StopLeading() must follow. Who is refused hears of it by Listener::LeadIsFree.
  std::optional<uint32_t> Lead();
  bool Answered(uint32_t index) const { return dead() || ring_.HasAnswered(index); }
  bool Arm();
  void StopLeading();
  int channel_fd() const { return channel_.inbound.get(); }
  int bell_fd() const { return bell_.fd(); }

  // ---- the connection ----

  // A new connection has its own channel, in place of the old one's. Everything unanswered is the
  // new daemon's to execute, and is announced to it.
  void Reconnect(const loopback::GuestEnd& channel);
  // Announces what is in the ring to a daemon that attached to it anew.
  void Announce();
  // Everything unanswered finishes with -ENOTCONN, and so does what comes later.
  void Kill();
  bool dead() const { return dead_.load(std::memory_order_acquire); }

  // Adds this queue's figures.
  void AddStats(tmem_stats& stats);

 private:
  // A ring request that is not answered yet; in the slot of its ring entry.
  struct Pending {
    Operation* operation = nullptr;  // null: nobody waits
    uint8_t code = 0;
    uint32_t first = 0;  // its first page in the operation
    uint32_t count = 0;
    uint32_t slot = 0;
    uint32_t slots_taken = 0;
  };

  // What a thread waits for.
  struct Condition {
    enum class Kind { kFinished, kRoom, kAllAnswered } kind;
    const Operation* operation = nullptr;  // kFinished
    uint64_t ticket = 0;                   // kRoom
    uint32_t slots = 0;                    // kRoom
  };
  // A thread that sleeps while another leads.
  struct Follower {
    const Condition& condition;
    bool woken = false;
    std::condition_variable_any wake{};
  };

  uint32_t PagesPerRequest(uint8_t code) const TMEM_REQUIRES(mutex_);
  // Stands in line, pushes all requests of the operation, and leaves the line.
  bool SubmitParts(Operation& operation) TMEM_REQUIRES(mutex_);
  // Waits for room for a request at the head of the line.
  bool AwaitRoom(uint64_t ticket, uint32_t slots) TMEM_REQUIRES(mutex_);
  void LeaveLine() TMEM_REQUIRES(mutex_);
  // Takes slots, copies a put's pages into them, pushes. True if the daemon wants a notification.
  bool Push(tmemif_request request, Pending pending, const std::byte* source) TMEM_REQUIRES(mutex_);
  void NotifyDaemon() TMEM_REQUIRES(mutex_);

  bool Holds(const Condition& condition) const TMEM_REQUIRES(mutex_);
  // False if the queue died before the condition held.
  bool Await(const Condition& condition) TMEM_REQUIRES(mutex_);
  // As the leader, until an answer came or may have, or the condition holds.
  void Sleep(const Condition& condition) TMEM_REQUIRES(mutex_);
  bool Spin(uint32_t consumed, Duration window) const;
  void Follow(const Condition& condition) TMEM_REQUIRES(mutex_);
  void WakeFollowers() TMEM_REQUIRES(mutex_);
  void PromoteFollower() TMEM_REQUIRES(mutex_);
  static void Wake(Follower& follower);

  void Reap() TMEM_REQUIRES(mutex_);
  void Deliver(const Pending& pending, const tmemif_response& response) TMEM_REQUIRES(mutex_);
  void Count(const Pending& pending, const tmemif_response& response) TMEM_REQUIRES(mutex_);
  void FinishIfAnswered(Operation& operation) TMEM_REQUIRES(mutex_);
  // Everything from that request on fails, and so does what comes later.
  void Die(uint32_t first) TMEM_REQUIRES(mutex_);
  // Runs what waits, or tells others of it if this thread is in a completion. Returns how many ran.
  int RunCompletions() TMEM_REQUIRES(mutex_);

  std::byte* SlotAt(uint32_t slot) const;

  const Config config_;
  Listener& listener_;
  const loopback::GuestEnd channel_;  // its numbers stay for life: Reconnect() puts others' under
  const loopback::Bell bell_;         // makes the leader look again
  const SteadyClock clock_;

  Mutex mutex_{LockRank::kLeaf};
  FrontRing ring_;  // guarded by mutex_, HasAnswered excepted
  SlotRing slots_ TMEM_GUARDED_BY(mutex_);
  std::vector<Pending> pending_ TMEM_GUARDED_BY(mutex_);
  // Finished asynchronous operations whose completion has not run.
  std::deque<std::unique_ptr<Operation>> finished_ TMEM_GUARDED_BY(mutex_);
  std::list<Follower*> followers_ TMEM_GUARDED_BY(mutex_);
  bool led_ TMEM_GUARDED_BY(mutex_) = false;
  bool lead_was_refused_ TMEM_GUARDED_BY(mutex_) = false;
  uint64_t next_ticket_ TMEM_GUARDED_BY(mutex_) = 0;
  uint64_t served_ticket_ TMEM_GUARDED_BY(mutex_) = 0;
  AdaptiveSpin spin_ TMEM_GUARDED_BY(mutex_);
  tmem_stats stats_ TMEM_GUARDED_BY(mutex_){};
  // Release where it is set, with the lock; acquire where it is read without.
  std::atomic<bool> dead_{false};
};

// True while the calling thread is inside a completion, of any client.
bool InCompletion();

}  // namespace tmem::client

#endif  // TMEM_CLIENT_QUEUE_H_
