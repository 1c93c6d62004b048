// The backend's side of xenbus: makes the device nodes of each allowed guest, follows the
// frontends' states, and keeps one Connection for each guest.
//
//   guest appears -> admit() decides -> store guest added -> device nodes written, InitWait
//   frontend Initialised -> keys read once and checked, pages mapped, ports bound -> Connected
//   frontend Closing -> queues detached, pages unmapped -> Closing
//   frontend Closed, or a violation -> the same -> Closed
//   frontend Initialising -> InitWait
//   guest gone -> connection dropped, device nodes removed, store guest removed
//
// docs/protocol.md has the state table. A frontend that breaks the protocol loses its connection
// alone, with one rate-limited log line, and stays Closed, with the reason in the key `error`,
// until its guest goes or an administrator calls Forgive().
//
// Threads: one control thread calls everything here.
#ifndef TMEM_HYPERCALL_BACKEND_H_
#define TMEM_HYPERCALL_BACKEND_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/units.h"
#include "hypercall/connection.h"
#include "hypercall/transport.h"
#include "pools/store.h"

namespace tmem {

// What an administrator sees of one guest's connection.
struct ConnectionInfo {
  GuestInfo guest;
  std::string state;   // "waiting", "connected", "closed", "violated"
  std::string reason;  // of a violation
  uint32_t queues = 0;
  uint64_t requests = 0;       // ring requests served, over all connections of this guest
  uint64_t notifications = 0;  // wake-ups sent
};

// Who else lives by the same guests and the same directory. Called by the control thread.
class BackendObserver {
 public:
  virtual ~BackendObserver() = default;
  // A guest that was admitted is gone, and so are its pages.
  virtual void GuestGone(const GuestInfo& guest) = 0;
  // A watch that is not the backend's has something to tell.
  virtual void DirectoryChanged(const Directory::WatchEvent& event) = 0;
};

class Backend {
 public:
  // Settings of a guest that may use tmem; nullopt refuses it: no device nodes are made.
  using Admit = std::function<std::optional<GuestSettings>(const GuestInfo&)>;

  // All references, and the observer if there is one, must outlive the backend.
  Backend(Hypervisor& hypervisor, Store& store, QueueHost& host, const Clock& clock, Admit admit,
          const WireLimits& limits, BackendObserver* observer = nullptr);
  // Detaches every queue and unmaps every page; guests stay in the store.
  ~Backend();

  // Sets the watches and takes up the guests that run already.
  Result<void> Start();

  // Readable when HandleEvents has something to do; for the control thread's poll.
  std::vector<int> PollFds() const;
  // Never blocks for long: work is bounded by the number of events that are waiting.
  void HandleEvents();

  std::vector<ConnectionInfo> Connections() const;
  // A guest by number or, if there is none, by name.
  std::optional<GuestInfo> Find(const std::string& guest) const;
  // Lets a guest that violated the protocol connect again.
  Result<void> Forgive(GuestId guest);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tmem

#endif  // TMEM_HYPERCALL_BACKEND_H_
