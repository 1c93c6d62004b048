// The queues of one worker, and the order in which they get their turns.
//
// A round gives each queue one turn of at most kTurnBudget pages, so that a guest that keeps its
// ring full delays the others by one turn each and no more (the class of XSA-332 and XSA-391).
// Between rounds without work the worker may poll; before it sleeps it arms every queue, so that
// the frontends notify it.
//
// A frontend that notifies without a request is tolerated a few times, for a late notification is
// normal; after that its notifications are heard once in kMuteTime at most, while its ring is
// still looked at in every round.
//
// Threads: one worker calls everything here, except Wake() and times(), which any thread may call.
#ifndef TMEM_DAEMON_QUEUE_POLLER_H_
#define TMEM_DAEMON_QUEUE_POLLER_H_

#include <chrono>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "base/units.h"
#include "compress/page_codec.h"
#include "hypercall/operation_times.h"
#include "hypercall/queue.h"

namespace tmem::daemon {

inline constexpr PageCount kTurnBudget{64};  // one full batch
inline constexpr int kVainWakesTolerated = 8;
inline constexpr Duration kMuteTime = std::chrono::milliseconds(1);

class QueuePoller {
 public:
  static Result<std::unique_ptr<QueuePoller>> Create(const Clock& clock);

  bool empty() const { return queues_.empty(); }

  void Add(std::shared_ptr<Queue> queue);
  // Drops the reference to the queue; nothing if it is not here.
  void Remove(const Queue& queue);

  // A turn for each queue. True if any request was executed.
  bool Round(PageCodec& codec);

  // Asks each frontend to notify us. False if a request came meanwhile: do not sleep.
  bool Arm();

  // Waits for a notification, or for Wake(). REQUIRES: Arm() returned true.
  void Sleep();

  // Ends Sleep(), the one under way or the next.
  void Wake();

  const OperationTimes& times() const { return times_; }

 private:
  struct Entry {
    std::shared_ptr<Queue> queue;
    bool armed = false;  // since its last request
    bool broken = false;
    bool listening = false;  // its notifications end Sleep()
    TimePoint muted_until{};
    int vain_wakes = 0;  // notifications since its last request
  };

  QueuePoller(const Clock& clock, UniqueFd epoll, UniqueFd wake)
      : clock_(clock), epoll_(std::move(epoll)), wake_(std::move(wake)), times_(clock) {}

  bool Turn(Entry& entry, PageCodec& codec);
  void Listen(Entry& entry);
  void Mute(Entry& entry);
  void OnNotification(Entry& entry);
  bool ListenAgain();
  Entry* Find(int event_fd);

  const Clock& clock_;
  const UniqueFd epoll_;
  const UniqueFd wake_;
  OperationTimes times_;
  std::vector<Entry> queues_;
};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_QUEUE_POLLER_H_
