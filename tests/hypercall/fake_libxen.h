// Xen's libraries as the transport uses them, linked in their place: one FakeXen is the whole host.
//
// The C functions act on the FakeXen that lives at the time. What a test wants to fail fails with
// the errno in `failures`, by the function's name. When the FakeXen goes, every handle must be
// closed, every page unmapped, every port unbound, and every transaction ended: it asserts that.
//
// Threads: one.
#ifndef TMEM_TESTS_HYPERCALL_FAKE_LIBXEN_H_
#define TMEM_TESTS_HYPERCALL_FAKE_LIBXEN_H_

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "base/units.h"
#include "hypercall/xen/handles.h"

namespace tmem::xen {

class FakeXen {
 public:
  struct Node {
    std::string value;
    std::vector<std::pair<unsigned, int>> permissions;  // domid, XS_PERM_*
    bool operator==(const Node&) const = default;
  };
  using Nodes = std::map<std::string, Node>;
  using Port = std::pair<uint32_t, uint32_t>;  // domid, port

  FakeXen();
  ~FakeXen();
  FakeXen(const FakeXen&) = delete;
  FakeXen& operator=(const FakeXen&) = delete;

  static FakeXen& Current();
  // Whether the function is to fail now; sets errno then.
  bool Fails(const std::string& function);

  std::map<std::string, int> failures;  // function's name, errno

  // xenstore
  Nodes nodes;
  std::map<xs_transaction_t, Nodes> transactions;  // what each would commit
  int conflicts = 0;                               // so many commits fail with EAGAIN
  int commits = 0;
  std::set<std::pair<std::string, std::string>> watches;   // path, token
  std::deque<std::pair<std::string, std::string>> events;  // the same
  std::set<unsigned> introduced;

  // Domains, oldest first.
  void AddDomain(uint16_t id, uint32_t flags = 0);
  std::vector<xc_domaininfo_t> domains;

  // The host.
  xc_physinfo_t host{};

  // Grants: a granted page is mapped as kPageSize bytes of its reference number.
  std::set<Port> grants;  // domid, reference
  std::map<void*, size_t> mapped;

  // Event channels.
  std::map<Port, xc_evtchn_status_t> ports;
  std::vector<evtchn_port_t> notified;
  std::vector<evtchn_port_t> unmasked;
  std::set<evtchn_port_t> bound;
  UniqueFd pending;  // an eventfd: readable when a notification waits
  int pending_calls = 0;

  int open_handles = 0;
};

}  // namespace tmem::xen

#endif  // TMEM_TESTS_HYPERCALL_FAKE_LIBXEN_H_
