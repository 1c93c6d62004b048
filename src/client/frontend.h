// The guest's half of the xenbus handshake (docs/protocol.md), and what keeps a connection up.
//
//   connect ----> the device's folder appears, the backend waits (InitWait)
//           ----> limits read, shape agreed, directory pages, ports and keys written: Initialised
//           ----> the backend is Connected: so are we
//
// A connection that ends may come back, and goes on where the rings stand, if the pages of this
// guest were kept. That is so if the backend closed the device without an `error` and the same
// `store-id` stands there afterwards; or if the daemon died, and the next one (another `instance`
// of the loopback hypervisor) expected us and has the same `store-id`. A daemon that lives and let
// us go, or that does not know us any more, has dropped our pages. In every other case the
// connection is dead for good, because to go on would be to lie about pages that are lost. What is
// agreed on first (shape, posted puts) stays: a daemon that announces less later is none that we
// can go on with.
//
// Not thread-safe: used by the connecting thread first and by the keeper thread from then on.
#ifndef TMEM_CLIENT_FRONTEND_H_
#define TMEM_CLIENT_FRONTEND_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "base/units.h"
#include "client/guest_link.h"
#include "client/shared_area.h"
#include "hypercall/loopback/bell.h"
#include "hypercall/loopback/channel.h"
#include "hypercall/xenbus.h"

namespace tmem::client {

class Frontend {
 public:
  struct Config {
    std::string socket_path;
    std::string guest_name;
    Shape wanted;
  };

  // What the first handshake agreed on.
  struct Agreement {
    Shape shape;
    uint32_t max_batch = 1;
    bool may_post = false;
  };

  // How a connection ended, or could not be made.
  enum class Outcome {
    kConnected,
    kTryAgain,  // the daemon is away, or not ready
    kDead,      // for good; or the bell rang
  };

  // The area is as large as config.wanted. Area and bell outlive the frontend; when the bell rings,
  // every wait ends.
  Frontend(const Config& config, SharedArea& area, const loopback::Bell& interrupt);

  // Goes through the whole handshake, over a new link. Errors say what to do; kNotFound and
  // kUnavailable may pass.
  Result<void> Connect(TimePoint deadline);

  // Waits until the backend closes the device and opens it again (kConnected), or the connection
  // ends.
  Outcome Follow();
  // After kTryAgain: connects again, once.
  Outcome Reconnect();

  const Agreement& agreement() const { return *agreement_; }
  GuestId domid() const { return domid_; }
  // The channels that the last handshake made, one a queue; empty if it made none, because those of
  // this link were kept.
  std::vector<loopback::GuestEnd> TakeChannels() { return std::move(channels_); }

 private:
  struct Limits {
    Shape largest;
    uint32_t max_batch = 1;
    bool may_post = false;
    std::string store_id;
  };

  Result<void> Handshake();
  Result<void> FindBackend();
  // Waits until the backend's state is one of the two; returns it.
  Result<XenbusState> AwaitBackend(XenbusState one, XenbusState other);
  Result<Limits> ReadLimits();
  Result<void> Agree(const Limits& limits);
  Result<void> Offer();
  Result<void> SetState(XenbusState state);
  Result<XenbusState> BackendState();
  // Why the backend closed the device.
  Error ClosedBy();

  Result<uint32_t> ReadNumber(std::string_view key, uint32_t low, uint32_t high);
  std::string BackendKey(std::string_view key) const;
  Result<void> WriteKey(std::string_view key, std::string_view value);

  const Config config_;
  SharedArea& area_;
  const loopback::Bell& interrupt_;

  std::unique_ptr<GuestLink> link_;
  Uuid instance_;  // of the link before, once there was one
  GuestId domid_;
  std::string frontend_path_;
  std::string backend_path_;
  std::vector<EventPort> ports_;  // of this link
  std::vector<loopback::GuestEnd> channels_;
  std::optional<Agreement> agreement_;
  bool established_ = false;  // a handshake was completed: the agreement is for good
  std::string store_id_;
};

}  // namespace tmem::client

#endif  // TMEM_CLIENT_FRONTEND_H_
