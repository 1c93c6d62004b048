#include "hypercall/xen/interdomain_channel.h"

#include <fmt/format.h>
#include <poll.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace tmem::xen {

namespace {

// Whether the guest's port leads to us: bound by one of our processes, or waiting for one. Xen
// answers EINVAL to a bind in the first case and where there is no such port; only the first is
// worth another try.
bool LeadsToUs(xc_interface* control, GuestId guest, EventPort port) {
  xc_evtchn_status_t status{};
  status.dom = guest.value;
  status.port = port.value;
  if (xc_evtchn_status(control, &status) != 0) return false;
  switch (status.status) {
    case EVTCHNSTAT_interdomain:
      return status.u.interdomain.dom == kBackendDomain.value;
    case EVTCHNSTAT_unbound:
      return status.u.unbound.dom == kBackendDomain.value;
    default:
      return false;
  }
}

}  // namespace

Result<std::unique_ptr<EventChannel>> InterdomainChannel::Bind(xc_interface* control, GuestId guest,
                                                               EventPort port) {
  Logger logger = QuietLogger();
  ChannelHandle handle(xenevtchn_open(logger.get(), 0));
  if (!handle) return std::unexpected(SystemError("cannot open /dev/xen/evtchn"));
  const xenevtchn_port_or_error_t local =
      xenevtchn_bind_interdomain(handle.get(), guest.value, port.value);
  if (local < 0) {
    const int error_number = errno;
    const std::string what =
        fmt::format("cannot bind event channel {} of guest {}", port.value, guest.value);
    if (error_number == EINVAL && LeadsToUs(control, guest, port)) {
      return Fail(ErrorCode::kUnavailable, what + ": another process has it still");
    }
    return std::unexpected(SystemError(what, error_number));
  }
  return std::unique_ptr<EventChannel>(new InterdomainChannel(std::move(logger), std::move(handle),
                                                              static_cast<evtchn_port_t>(local)));
}

InterdomainChannel::~InterdomainChannel() {
  if (xenevtchn_unbind(handle_.get(), local_) != 0) {
    spdlog::error("cannot unbind an event channel: {}", std::strerror(errno));
  }
}

void InterdomainChannel::Acknowledge() {
  // Reading may block where nothing is pending, whatever the descriptor's flags (xenevtchn.h).
  pollfd wait{.fd = fd(), .events = POLLIN, .revents = 0};
  if (::poll(&wait, 1, 0) != 1) return;
  const xenevtchn_port_or_error_t port = xenevtchn_pending(handle_.get());
  if (port < 0) return;
  if (xenevtchn_unmask(handle_.get(), static_cast<evtchn_port_t>(port)) != 0) {
    spdlog::error("cannot unmask an event channel: {}", std::strerror(errno));
  }
}

void InterdomainChannel::Notify() { (void)xenevtchn_notify(handle_.get(), local_); }

}  // namespace tmem::xen
