// A connection of this program to tmemd, as a guest: the queues, the thread that keeps the
// connection up, and waiting across queues. tmem_client.h is its face.
//
// The keeper thread follows the backend's state and connects again when the daemon is back; callers
// notice nothing of it but that their answers take longer.
//
// Threads: any, as tmem_client.h says.
#ifndef TMEM_CLIENT_CLIENT_H_
#define TMEM_CLIENT_CLIENT_H_

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/adaptive_spin.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "client/frontend.h"
#include "client/operation.h"
#include "client/queue.h"
#include "client/shared_area.h"
#include "hypercall/loopback/bell.h"

namespace tmem::client {

class Client final : public Queue::Listener {
 public:
  struct Config {
    std::string socket_path;
    std::string guest_name;
    Shape wanted;
    Duration spin{};          // as Queue::Config
    Duration connect_time{};  // how long to wait for the first connection
    Duration drain_time{};    // how long the end waits for answers that may never come
  };

  // kUnavailable, kNotFound, kDenied, kExists, kInvalid, ...: the message says what to do.
  static Result<std::unique_ptr<Client>> Connect(const Config& config);
  // Waits a bounded time for what is outstanding, then ends the connection. Completions that have
  // not run by then run with -ENOTCONN.
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Executes an operation on pages or objects and returns its result.
  int Execute(Operation& operation);
  int NewPool(const tmem_uuid& uuid, uint32_t flags);
  int DestroyPool(uint32_t pool);
  // 0, or -ENOTCONN.
  int Submit(std::unique_ptr<Operation> operation);
  int Post(uint32_t pool, const tmem_oid& oid, uint32_t index, const std::byte* page);

  // As tmem_poll and tmem_drain.
  int Poll(int timeout_ms);
  int Drain();

  tmem_stats Stats();
  GuestId domid() const { return GuestId{domid_.load(std::memory_order_relaxed)}; }

 private:
  Client(const Config& config, SharedArea area, loopback::Bell keeper_bell,
         loopback::Bell poll_bell);

  // For each queue that this thread leads, the response that it waits for.
  using Leads = std::array<std::optional<uint32_t>, TMEMIF_MAX_QUEUES>;

  Result<void> ConnectFirst(TimePoint deadline);
  Result<void> MakeQueues();
  Queue& QueueOf(uint32_t pool, const tmem_oid& oid);
  bool dead() const { return dead_.load(std::memory_order_acquire); }

  // ---- the keeper ----
  void StartKeeper();
  void Keep();
  // Waits, unless the bell rings. True if it rang.
  bool Pause(Duration time) const;
  void Kill();

  // ---- waiting across queues ----
  int CollectAll();
  uint64_t Completions();
  // Sleeps until an answer may have come, a completion ran since Completions() was `seen`, or the
  // deadline.
  void AwaitAnswers(uint64_t seen, TimePoint deadline);
  void SleepOnQueues(TimePoint deadline);
  bool SpinOnQueues(const Leads& leads, TimePoint start, TimePoint deadline) const;
  uint64_t Unfinished() const { return unfinished_.load(std::memory_order_acquire); }
  void CompletionsChanged();

  void CompletionRan() override;
  void CompletionWaits() override;
  void LeadIsFree() override;
  void DaemonBrokeProtocol() override;

  const Config config_;
  const SteadyClock clock_;
  SharedArea area_;
  const loopback::Bell keeper_bell_;  // rung once, for good: stop, or a queue is dead
  const loopback::Bell poll_bell_;    // makes the thread in SleepOnQueues look again
  Frontend frontend_;
  std::vector<std::unique_ptr<Queue>> queues_;  // constant once connected
  // Set as soon as a call may have returned -ENOTCONN; the keeper then kills all queues.
  std::atomic<bool> dead_{false};
  std::atomic<uint16_t> domid_{0};
  std::atomic<uint64_t> reconnects_{0};
  // Bit p: pool p is persistent, and takes no posted puts.
  std::atomic<uint32_t> persistent_pools_{0};

  // Asynchronous operations whose completion has not run. Release when it falls: what the
  // completion did is seen by who finds it at zero.
  std::atomic<uint64_t> unfinished_{0};
  Mutex poll_mutex_{LockRank::kLeaf};
  std::condition_variable_any poll_changed_;
  bool polling_ TMEM_GUARDED_BY(poll_mutex_) = false;      // a thread is in SleepOnQueues
  uint64_t completions_ TMEM_GUARDED_BY(poll_mutex_) = 0;  // counts what may end a poll
  AdaptiveSpin poll_spin_;                                 // of the thread that polls
  std::atomic<uint64_t> poll_sleeps_{0};

  std::thread keeper_;
};

}  // namespace tmem::client

#endif  // TMEM_CLIENT_CLIENT_H_
