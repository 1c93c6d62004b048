// One guest's tmem device: the backend's half of the xenbus state machine.
//
//                 frontend Initialised or Connected
//    kWaiting ----------------------------------------> kConnected
//    (InitWait)       keys good, pages mapped           (Connected)
//       ^  |  \                                           |     |
//       |  |   `---- keys bad -----> kViolated <----------'     | frontend Closing, Closed, gone
//       |  |                         (Closed, `error`)          | or Initialising again
//       |  `--- frontend Closing or Closed ---> kClosed <-------'
//       `------------ frontend Initialising --- (Closed)
//
// Owned by the backend; control thread only.
#ifndef TMEM_HYPERCALL_CONNECTION_H_
#define TMEM_HYPERCALL_CONNECTION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

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
  enum class State { kWaiting, kConnected, kClosed, kViolated };

  // What a connection works with; all outlive it.
  struct Context {
    Hypervisor& hypervisor;
    Store& store;
    QueueHost& host;
    WireLimits limits;
    RateLimiter& violation_log;  // a hostile guest must not fill the log
  };

  // Told by a worker; from any thread.
  using OnViolation = std::function<void(GuestId guest, std::string_view reason)>;

  // Writes the device nodes, unless a daemon before us did, and waits for the frontend.
  static Result<std::unique_ptr<Connection>> Create(const Context& context, const GuestInfo& info,
                                                    std::shared_ptr<Guest> guest,
                                                    OnViolation on_violation);
  // Detaches the queues; device nodes stay.
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Looks at the frontend's state and follows it. True if it should be called again soon: the
  // other side of an event channel is still held by a process that is about to end.
  bool FollowFrontend();

  // Closes for good: only Forgive() or the guest's end lead out of it.
  void Violate(std::string_view reason);
  // From kViolated to kWaiting for a frontend that starts again.
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
  Connection(const Context& context, const GuestInfo& info, std::shared_ptr<Guest> guest,
             OnViolation on_violation);

  Result<void> WriteNodes();
  XenbusState FrontendState();
  void SetState(XenbusState state);
  void Wait();
  bool Connect();
  void Close(State state);
  void DropQueues();

  const Context context_;
  const GuestInfo info_;
  const std::shared_ptr<Guest> guest_;
  const OnViolation on_violation_;
  const std::string frontend_path_;
  const std::string backend_path_;

  State state_ = State::kWaiting;
  std::string reason_;
  std::vector<std::shared_ptr<Queue>> queues_;
  uint64_t past_requests_ = 0;  // of queues that are gone
  uint64_t past_notifications_ = 0;
};

}  // namespace tmem

#endif  // TMEM_HYPERCALL_CONNECTION_H_
