// A hypervisor without Xen: guests are processes of this machine that connect to a Unix socket.
//
// It stands in for three things. Grants: a guest shares pages of a sealed memfd, and a grant
// reference is 1 + the page's number in it. Event channels: a socket and an eventfd. xenstore: a
// tree in this process, which guests read, write and watch through the socket with their own
// domid's rights. loopback/wire.h states the socket's messages; client/ speaks the other end.
//
// A guest comes into being by connecting with a name and is gone when its connection closes: then
// its folder /local/domain/<domid> is removed and kReleaseDomain fires. As in Xen, a guest that
// comes back has a new domid and the same uuid: the uuid is derived from the name, so that it
// outlives the daemon. A guest that lost its connection because the daemon died is still the same
// one: it says which domid it had, and has it again if it was expected and comes in time. Two live
// guests never have the same name. In its folder a guest finds name
// and vm (/vm/<uuid>), and may read but not write it; who makes nodes there gives the rights.
//
// Who may connect is decided by the socket file's owner and mode. A guest can still be hostile:
// memory that could go away under us is refused, messages and everything a guest may hold are
// checked against the limits in wire.h, a guest that does not read its answers is not read from
// either, and none of it blocks another guest that is connected. Whoever may connect can keep
// others from connecting: by being kMaxConnections guests, or by sending descriptors of files that
// take long to close. What it needs of the process: up to 66 file descriptors a guest.
//
// Threads: an internal thread serves the socket; the public interface is the control thread's.
#ifndef TMEM_HYPERCALL_LOOPBACK_LOOPBACK_HYPERVISOR_H_
#define TMEM_HYPERCALL_LOOPBACK_LOOPBACK_HYPERVISOR_H_

#include <sys/types.h>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "hypercall/transport.h"

namespace tmem::loopback {

class LoopbackHypervisor final : public Hypervisor {
 public:
  struct Config {
    std::string socket_path;
    mode_t socket_mode = 0600;
    Duration return_time = std::chrono::seconds(30);  // for guests that are expected
  };

  // Listens on the socket; guests are let in from the first call of Guests() on. A stale socket
  // file of a dead process is replaced; kExists if a live process listens there.
  static Result<std::unique_ptr<LoopbackHypervisor>> Create(const Config& config);
  // Disconnects every guest and removes the socket file. SharedPages and EventChannels may outlive
  // this object.
  ~LoopbackHypervisor() override;

  std::string_view name() const override { return "loopback"; }
  Directory& directory() override;
  Result<std::vector<GuestInfo>> Guests() override;
  Result<PhysicalMemory> Memory() override;  // see physical_memory.h
  Result<void> SetBackendTarget(Bytes target) override;
  void Expect(std::span<const GuestInfo> guests) override;
  Result<std::unique_ptr<SharedPages>> Map(GuestId guest, std::span<const GrantRef> refs) override;
  Result<std::unique_ptr<EventChannel>> Bind(GuestId guest, EventPort port) override;

 private:
  class Impl;
  explicit LoopbackHypervisor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tmem::loopback

#endif  // TMEM_HYPERCALL_LOOPBACK_LOOPBACK_HYPERVISOR_H_
