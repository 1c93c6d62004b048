// The EventChannel of transport.h: our end of a guest's event channel, over libxenevtchn.
//
// Each channel has a handle of its own, so that each worker polls and reads only what is its own.
#ifndef TMEM_HYPERCALL_XEN_INTERDOMAIN_CHANNEL_H_
#define TMEM_HYPERCALL_XEN_INTERDOMAIN_CHANNEL_H_

#include <memory>

#include "base/result.h"
#include "hypercall/transport.h"
#include "hypercall/xen/handles.h"

namespace tmem::xen {

class InterdomainChannel final : public EventChannel {
 public:
  // kUnavailable while another process of this domain holds the port's other end, as one that is
  // being killed does for a moment; kInvalid if the guest has no such port for us.
  static Result<std::unique_ptr<EventChannel>> Bind(xc_interface* control, GuestId guest,
                                                    EventPort port);
  ~InterdomainChannel() override;

  int fd() const override { return xenevtchn_fd(handle_.get()); }
  void Acknowledge() override;
  void Notify() override;

 private:
  InterdomainChannel(Logger logger, ChannelHandle handle, evtchn_port_t local)
      : logger_(std::move(logger)), handle_(std::move(handle)), local_(local) {}

  const Logger logger_;
  const ChannelHandle handle_;
  const evtchn_port_t local_;
};

}  // namespace tmem::xen

#endif  // TMEM_HYPERCALL_XEN_INTERDOMAIN_CHANNEL_H_
