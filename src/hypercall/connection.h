// One guest's tmem device: the backend's half of the xenbus state machine.
//
//                 frontend Initialised or Connected
//    kWaiting ----------------------------------------> kConnected
//    (InitWait)       keys good, pages mapped           (Connected)
//       ^  |  \                                           |     |
//       |  |   `---- keys bad -----> kViolated <----------'     | frontend Closing, Closed, gone
//       |  |                         (Closed, `error`)          | or Initialising again
//       |  `--- frontend Closing -----> kClosing <--------------+
//       |                               (Closing)               |
//       |                                   | frontend Closed   |
//       |  or Closed at once                v                   |
//       `------------ frontend Initialising --- kClosed <-------'
//                                               (Closed)
//
// Closing says that no page of the guest's is mapped any more. It stands until the frontend has
// left, too: of a guest that powers off, the kernel waits for just that state.
//
// Owned by the backend; control thread only.
#ifndef TMEM_HYPERCALL_CONNECTION_H_
#define TMEM_HYPERCALL_CONNECTION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/rate_limiter.h"
#include "base/result.h"
#include "hypercall/handshake.h"
#include "hypercall/queue.h"
#include "hypercall/transport.h"
#include "hypercall/xenbus.h"
#include "pools/store.h"

namespace tmem {

// Where queues are served: the daemon's workers.
class QueueHost {
 public:
  virtual ~QueueHost() = default;
  // Serves the queue from now on.
  virtual void Attach(std::shared_ptr<Queue> queue) = 0;
  // Returns when no thread touches the queue any more. Nothing if it is not attached.
  virtual void Detach(const Queue& queue) = 0;
};

class Connection {
 public:
  enum class State { kWaiting, kConnected, kClosing, kClosed, kViolated };

  // What a connection works with; all outlive it.
  struct Context {
    Hypervisor& hypervisor;
    Store& store;
    QueueHost& host;
    const Clock& clock;
    WireLimits limits;
    RateLimiter& violation_log;       // a hostile guest must not fill the log
    std::function<void()> on_report;  // HandleReport() is due; called by workers, from any thread
  };

  // Writes the device nodes, unless a daemon before us did, and waits for the frontend.
  static Result<std::unique_ptr<Connection>> Create(const Context& context, const GuestInfo& info,
                                                    std::shared_ptr<Guest> guest);
  // Detaches the queues; device nodes stay.
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Looks at the frontend's state and follows it. True if it should be called again soon: the
  // directory cannot be read, the frontend cannot be served yet (an ending process may still hold
  // its event channels), or it connects too often.
  bool FollowFrontend();

  // Closes for good, if a queue reported a violation.
  void HandleReport();
  // From kViolated to kClosed: the frontend may be followed again.
  void Forgive();

  // Removes the device nodes. REQUIRES: the guest is gone, or may not use tmem any more.
  void RemoveNodes();

  const GuestInfo& info() const { return info_; }
  State state() const { return state_; }
  const std::string& reason() const { return reason_; }
  size_t queues() const { return queues_.size(); }
  uint64_t requests() const;
  uint64_t notifications() const;

 private:
  Connection(const Context& context, const GuestInfo& info, std::shared_ptr<Guest> guest);

  Result<void> WriteNodes();
  // kUnknown if there is none; nullopt if the directory cannot be read.
  std::optional<XenbusState> FrontendState();
  void SetState(XenbusState state);
  void Wait();
  bool Connect();
  void Attach(std::vector<Queue::Parts> parts);
  // The frontend leaves (kClosing), or has left (kClosed).
  void Leave(State state);
  void Violate(std::string_view reason);
  // A frontend that leaves before its violation was handled has committed it all the same. True
  // if the queues that were dropped had reported one.
  bool DropQueues();
  void Report(std::string_view reason);
  std::optional<std::string> TakeReport();

  const Context context_;
  const GuestInfo info_;
  const std::shared_ptr<Guest> guest_;
  const std::string frontend_path_;
  const std::string backend_path_;

  State state_ = State::kWaiting;
  std::string reason_;
  std::vector<std::shared_ptr<Queue>> queues_;
  uint64_t past_requests_ = 0;  // of queues that are gone
  uint64_t past_notifications_ = 0;
  RateLimiter tries_;           // mapping a frontend's pages is work that the frontend can cause
  uint32_t tries_in_vain_ = 0;  // since the frontend was last served, or began anew

  Mutex report_mutex_{LockRank::kLeaf};
  // The first violation of these queues; written by workers.
  std::optional<std::string> report_ TMEM_GUARDED_BY(report_mutex_);
};

}  // namespace tmem

#endif  // TMEM_HYPERCALL_CONNECTION_H_
