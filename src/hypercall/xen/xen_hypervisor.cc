#include "hypercall/xen/xen_hypervisor.h"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <map>
#include <string>
#include <system_error>
#include <utility>

#include "hypercall/xen/domain_list.h"
#include "hypercall/xen/grant_mapping.h"
#include "hypercall/xen/handles.h"
#include "hypercall/xen/interdomain_channel.h"
#include "hypercall/xen/physical_memory.h"
#include "hypercall/xen/xenstore_directory.h"

namespace tmem::xen {

namespace {

class XenHypervisor final : public Hypervisor {
 public:
  XenHypervisor(StoreHandle store, Logger logger, ControlHandle control)
      : directory_(std::move(store)), logger_(std::move(logger)), control_(std::move(control)) {}

  std::string_view name() const override { return "xen"; }
  Directory& directory() override { return directory_; }
  Result<std::vector<GuestInfo>> Guests() override;
  std::map<GuestId, Bytes> Surrendered() override;
  Result<PhysicalMemory> Memory() override {
    return ReadPhysicalMemory(control_.get(), directory_);
  }
  Result<void> SetBackendTarget(Bytes target) override {
    return SetDom0Target(control_.get(), directory_, target);
  }
  Result<std::unique_ptr<SharedPages>> Map(GuestId guest, std::span<const GrantRef> refs) override {
    return GrantMapping::Map(guest, refs);
  }
  Result<std::unique_ptr<EventChannel>> Bind(GuestId guest, EventPort port) override {
    return InterdomainChannel::Bind(control_.get(), guest, port);
  }

 private:
  XenstoreDirectory directory_;
  const Logger logger_;  // of the handle below
  const ControlHandle control_;
};

Result<std::vector<GuestInfo>> XenHypervisor::Guests() {
  const auto domains = ListDomains(control_.get());
  if (!domains) return std::unexpected(domains.error());
  std::vector<GuestInfo> guests;
  for (const Domain& domain : *domains) {
    // Not known to xenstored yet: @introduceDomain will tell. Not any more: it is about to die.
    if (!directory_.IsIntroduced(domain.id)) continue;
    // A toolstack may leave its guests without names.
    auto name = directory_.Read(fmt::format("/local/domain/{}/name", domain.id.value));
    guests.push_back({domain.id, std::move(name).value_or(""), domain.uuid});
  }
  return guests;
}

std::map<GuestId, Bytes> XenHypervisor::Surrendered() {
  std::map<GuestId, Bytes> surrendered;
  const auto domains = ListDomains(control_.get());
  if (!domains) return surrendered;
  for (const Domain& domain : *domains) {
    const auto text =
        directory_.Read(fmt::format("/local/domain/{}/memory/static-max", domain.id.value));
    if (!text) continue;
    uint64_t kib = 0;
    const auto read = std::from_chars(text->data(), text->data() + text->size(), kib);
    if (read.ec != std::errc{} || kib > UINT64_MAX / 1024) continue;
    const Bytes static_max(kib * 1024);
    surrendered[domain.id] = static_max > domain.held ? static_max - domain.held : Bytes(0);
  }
  return surrendered;
}

// `device` could not be opened, for the reason in errno.
std::unexpected<Error> DeviceError(std::string_view device, std::string_view module) {
  const int error_number = errno;
  Error error = SystemError(fmt::format("cannot open {}", device), error_number);
  if (error.code == ErrorCode::kDenied) {
    error.message += "; start tmemd as root, or give its group access to /dev/xen/*";
  } else {
    error.message += fmt::format("; is the kernel module {} loaded?", module);
  }
  return std::unexpected(std::move(error));
}

std::unexpected<Error> XenstoreError() {
  const int error_number = errno;
  Error error = SystemError("cannot reach xenstored", error_number);
  error.message += error.code == ErrorCode::kDenied
                       ? "; start tmemd as root, or give its group access to xenstored's socket"
                       : "; does it run? (systemctl status xen)";
  return std::unexpected(std::move(error));
}

// Grants and event channels are opened when guests connect. That they can be is found out now,
// where an administrator looks.
Result<void> ProbeDevices(xentoollog_logger* logger) {
  if (const GrantHandle grants(xengnttab_open(logger, 0)); !grants) {
    return DeviceError("/dev/xen/gntdev", "xen-gntdev");
  }
  if (const ChannelHandle channels(xenevtchn_open(logger, 0)); !channels) {
    return DeviceError("/dev/xen/evtchn", "xen-evtchn");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Hypervisor>> ConnectToXen() {
  Logger logger = QuietLogger();
  TMEM_TRY(ProbeDevices(logger.get()));
  ControlHandle control(xc_interface_open(logger.get(), logger.get(), 0));
  if (!control) return DeviceError("/dev/xen/privcmd and /dev/xen/hypercall", "xen-privcmd");
  StoreHandle store(xs_open(0));
  if (!store) return XenstoreError();
  return std::make_unique<XenHypervisor>(std::move(store), std::move(logger), std::move(control));
}

}  // namespace tmem::xen
