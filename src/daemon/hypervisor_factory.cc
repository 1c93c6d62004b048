#include "daemon/hypervisor_factory.h"

#include <cstdint>
#include <fstream>
#include <utility>

#include "hypercall/loopback/loopback_hypervisor.h"
#include "hypercall/xen/xen_hypervisor.h"

namespace tmem::daemon {

namespace {

constexpr unsigned kXenFeatureDom0 = 11;

}  // namespace

bool IsXenDom0(const std::string& features_file) {
  std::ifstream file(features_file);
  uint64_t features = 0;
  return file >> std::hex >> features && (features >> kXenFeatureDom0 & 1) != 0;
}

Result<std::unique_ptr<Hypervisor>> MakeHypervisor(const Config& config,
                                                   const std::string& features_file) {
  const bool is_xen = config.hypervisor == HypervisorKind::kXen;
  if (is_xen || (config.hypervisor == HypervisorKind::kAuto && IsXenDom0(features_file))) {
    auto xen = xen::ConnectToXen();
    if (xen) return xen;
    Error error =
        std::move(xen).error().Within(is_xen ? "hypervisor = \"xen\"" : "this is a Xen dom0");
    if (is_xen && !IsXenDom0(features_file)) {
      error.code = ErrorCode::kUnsupported;
      error.message += " (" + features_file + " does not name this a dom0)";
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
