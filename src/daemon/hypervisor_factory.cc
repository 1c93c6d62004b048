#include "daemon/hypervisor_factory.h"

#include <fstream>
#include <iterator>
#include <utility>

#include "hypercall/loopback/loopback_hypervisor.h"
#include "hypercall/xen/xen_hypervisor.h"

namespace tmem::daemon {

bool IsXenDom0(const std::string& capabilities_file) {
  std::ifstream file(capabilities_file);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return text.find("control_d") != std::string::npos;
}

Result<std::unique_ptr<Hypervisor>> MakeHypervisor(const Config& config,
                                                   const std::string& capabilities_file) {
  const bool is_xen = config.hypervisor == HypervisorKind::kXen;
  if (is_xen || (config.hypervisor == HypervisorKind::kAuto && IsXenDom0(capabilities_file))) {
    auto xen = xen::ConnectToXen();
    if (xen) return xen;
    Error error =
        std::move(xen).error().Within(is_xen ? "hypervisor = \"xen\"" : "this is a Xen dom0");
    if (is_xen && !IsXenDom0(capabilities_file)) {
      error.code = ErrorCode::kUnsupported;
      error.message += " (" + capabilities_file + " does not name this a dom0)";
    }
    error.message +=
        "; to serve programs of this machine instead, start with --hypervisor loopback";
    return std::unexpected(std::move(error));
  }
  auto loopback = loopback::LoopbackHypervisor::Create(
      {.socket_path = config.loopback_socket, .socket_mode = config.loopback_mode});
  if (!loopback) {
    return std::unexpected(std::move(loopback).error().Within("loopback.socket"));
  }
  return std::move(*loopback);
}

}  // namespace tmem::daemon
