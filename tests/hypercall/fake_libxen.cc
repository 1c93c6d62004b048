#include "hypercall/fake_libxen.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace tmem::xen {

namespace {

FakeXen* current = nullptr;

// The libraries' handle types are opaque; a handle that is open is any pointer but null.
template <class Handle>
Handle* Open(const char* function) {
  FakeXen& xen = FakeXen::Current();
  if (xen.Fails(function)) return nullptr;
  ++xen.open_handles;
  static char handle;
  return reinterpret_cast<Handle*>(&handle);
}

int Close() {
  --FakeXen::Current().open_handles;
  return 0;
}

FakeXen::Nodes& NodesOf(xs_transaction_t transaction) {
  FakeXen& xen = FakeXen::Current();
  return transaction == XBT_NULL ? xen.nodes : xen.transactions.at(transaction);
}

// Strings and the pointers to them in one allocation, as the library returns them.
char** PackStrings(const std::vector<std::string>& strings) {
  size_t bytes = strings.size() * sizeof(char*);
  for (const std::string& string : strings) bytes += string.size() + 1;
  auto** const pointers = static_cast<char**>(std::malloc(std::max<size_t>(bytes, 1)));
  char* to = reinterpret_cast<char*>(pointers + strings.size());
  for (size_t i = 0; i < strings.size(); ++i) {
    pointers[i] = std::strcpy(to, strings[i].c_str());
    to += strings[i].size() + 1;
  }
  return pointers;
}

}  // namespace

FakeXen::FakeXen() : pending(::eventfd(0, EFD_CLOEXEC)) { current = this; }

FakeXen::~FakeXen() {
  EXPECT_EQ(open_handles, 0);
  EXPECT_TRUE(mapped.empty());
  EXPECT_TRUE(bound.empty());
  EXPECT_TRUE(transactions.empty());
  current = nullptr;
}

FakeXen& FakeXen::Current() { return *current; }

bool FakeXen::Fails(const std::string& function) {
  const auto at = failures.find(function);
  if (at == failures.end()) return false;
  errno = at->second;
  return true;
}

void FakeXen::AddDomain(uint16_t id, uint32_t flags) {
  xc_domaininfo_t info{};
  info.domain = id;
  info.flags = flags;
  for (size_t i = 0; i < sizeof(info.handle); ++i) {
    info.handle[i] = static_cast<uint8_t>(id + i);
  }
  domains.push_back(info);
}

// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)
extern "C" {

xentoollog_logger_stdiostream* xtl_createlogger_stdiostream(FILE*, xentoollog_level, unsigned) {
  return Open<xentoollog_logger_stdiostream>("xtl_createlogger_stdiostream");
}
void xtl_logger_destroy(xentoollog_logger*) { Close(); }

// ---- libxenstore

xs_handle* xs_open(unsigned long) { return Open<xs_handle>("xs_open"); }
void xs_close(xs_handle*) { Close(); }
int xs_fileno(xs_handle*) { return FakeXen::Current().pending.get(); }

void* xs_read(xs_handle*, xs_transaction_t transaction, const char* path, unsigned* size) {
  if (FakeXen::Current().Fails("xs_read")) return nullptr;
  const auto& nodes = NodesOf(transaction);
  const auto at = nodes.find(path);
  if (at == nodes.end()) {
    errno = ENOENT;
    return nullptr;
  }
  const std::string& value = at->second.value;
  *size = static_cast<unsigned>(value.size());
  return std::memcpy(std::malloc(value.size() + 1), value.c_str(), value.size() + 1);
}

char** xs_directory(xs_handle*, xs_transaction_t transaction, const char* path, unsigned* count) {
  if (FakeXen::Current().Fails("xs_directory")) return nullptr;
  const auto& nodes = NodesOf(transaction);
  if (!nodes.contains(path)) {
    errno = ENOENT;
    return nullptr;
  }
  const std::string prefix = std::string(path) + "/";
  std::vector<std::string> names;
  for (const auto& [name, node] : nodes) {
    if (name.starts_with(prefix) && name.find('/', prefix.size()) == std::string::npos) {
      names.push_back(name.substr(prefix.size()));
    }
  }
  *count = static_cast<unsigned>(names.size());
  return PackStrings(names);
}

bool xs_write(xs_handle*, xs_transaction_t transaction, const char* path, const void* data,
              unsigned size) {
  if (FakeXen::Current().Fails("xs_write " + std::string(path))) return false;
  NodesOf(transaction)[path].value.assign(static_cast<const char*>(data), size);
  return true;
}

bool xs_set_permissions(xs_handle*, xs_transaction_t transaction, const char* path,
                        xs_permissions* permissions, unsigned count) {
  if (FakeXen::Current().Fails("xs_set_permissions")) return false;
  auto& list = NodesOf(transaction).at(path).permissions;
  list.clear();
  for (unsigned i = 0; i < count; ++i) {
    list.emplace_back(permissions[i].id, static_cast<int>(permissions[i].perms));
  }
  return true;
}

bool xs_rm(xs_handle*, xs_transaction_t transaction, const char* path) {
  if (FakeXen::Current().Fails("xs_rm")) return false;
  const size_t removed = std::erase_if(NodesOf(transaction), [&](const auto& node) {
    return node.first == path || node.first.starts_with(std::string(path) + "/");
  });
  errno = ENOENT;
  return removed > 0;
}

xs_transaction_t xs_transaction_start(xs_handle*) {
  FakeXen& xen = FakeXen::Current();
  if (xen.Fails("xs_transaction_start")) return XBT_NULL;
  const auto id = static_cast<xs_transaction_t>(xen.transactions.size() + 1);
  xen.transactions[id] = xen.nodes;
  return id;
}

bool xs_transaction_end(xs_handle*, xs_transaction_t transaction, bool abort) {
  FakeXen& xen = FakeXen::Current();
  const auto ended = xen.transactions.extract(transaction);
  if (abort) return true;
  if (xen.Fails("xs_transaction_end")) return false;
  ++xen.commits;
  if (xen.conflicts > 0) {
    --xen.conflicts;
    errno = EAGAIN;
    return false;
  }
  xen.nodes = ended.mapped();
  return true;
}

bool xs_watch(xs_handle*, const char* path, const char* token) {
  FakeXen& xen = FakeXen::Current();
  return !xen.Fails("xs_watch") && xen.watches.emplace(path, token).second;
}

bool xs_unwatch(xs_handle*, const char* path, const char* token) {
  errno = ENOENT;
  return FakeXen::Current().watches.erase({path, token}) == 1;
}

char** xs_check_watch(xs_handle*) {
  FakeXen& xen = FakeXen::Current();
  if (xen.events.empty()) {
    errno = EAGAIN;
    return nullptr;
  }
  const auto [path, token] = xen.events.front();
  xen.events.pop_front();
  return PackStrings({path, token});
}

bool xs_is_domain_introduced(xs_handle*, unsigned domid) {
  return FakeXen::Current().introduced.contains(domid);
}

// ---- libxenctrl

xc_interface* xc_interface_open(xentoollog_logger*, xentoollog_logger*, unsigned) {
  return Open<xc_interface>("xc_interface_open");
}
int xc_interface_close(xc_interface*) { return Close(); }

int xc_domain_getinfolist(xc_interface*, uint32_t first, unsigned max, xc_domaininfo_t* infos) {
  FakeXen& xen = FakeXen::Current();
  if (xen.Fails("xc_domain_getinfolist")) return -1;
  int count = 0;
  for (const xc_domaininfo_t& info : xen.domains) {
    if (info.domain >= first && static_cast<unsigned>(count) < max) infos[count++] = info;
  }
  return count;
}

int xc_physinfo(xc_interface*, xc_physinfo_t* info) {
  FakeXen& xen = FakeXen::Current();
  if (xen.Fails("xc_physinfo")) return -1;
  *info = xen.host;
  return 0;
}

int xc_domain_setmaxmem(xc_interface*, uint32_t domid, uint64_t max_memkb) {
  FakeXen& xen = FakeXen::Current();
  if (xen.Fails("xc_domain_setmaxmem")) return -1;
  for (xc_domaininfo_t& info : xen.domains) {
    if (info.domain == domid) info.max_pages = max_memkb * 1024 / kPageSize;
  }
  return 0;
}

int xc_evtchn_status(xc_interface*, xc_evtchn_status_t* status) {
  FakeXen& xen = FakeXen::Current();
  if (xen.Fails("xc_evtchn_status")) return -1;
  const auto at = xen.ports.find({status->dom, status->port});
  if (at == xen.ports.end()) {
    errno = EINVAL;
    return -1;
  }
  *status = at->second;
  return 0;
}

// ---- libxengnttab

xengnttab_handle* xengnttab_open(xentoollog_logger*, unsigned) {
  return Open<xengnttab_handle>("xengnttab_open");
}
int xengnttab_close(xengnttab_handle*) { return Close(); }

void* xengnttab_map_domain_grant_refs(xengnttab_handle*, uint32_t count, uint32_t domid,
                                      uint32_t* refs, int prot) {
  FakeXen& xen = FakeXen::Current();
  EXPECT_EQ(prot, PROT_READ | PROT_WRITE);
  for (uint32_t i = 0; i < count; ++i) {
    if (!xen.grants.contains({domid, refs[i]})) {
      errno = EINVAL;
      return nullptr;
    }
  }
  char* const pages = static_cast<char*>(std::aligned_alloc(kPageSize, count * kPageSize));
  for (uint32_t i = 0; i < count; ++i) {
    std::memset(pages + i * kPageSize, static_cast<int>(refs[i]), kPageSize);
  }
  xen.mapped[pages] = count;
  return pages;
}

int xengnttab_unmap(xengnttab_handle*, void* pages, uint32_t count) {
  FakeXen& xen = FakeXen::Current();
  const auto at = xen.mapped.find(pages);
  if (at == xen.mapped.end() || at->second != count) {
    errno = EINVAL;
    return -1;
  }
  xen.mapped.erase(at);
  std::free(pages);
  return 0;
}

// ---- libxenevtchn

xenevtchn_handle* xenevtchn_open(xentoollog_logger*, unsigned) {
  return Open<xenevtchn_handle>("xenevtchn_open");
}
int xenevtchn_close(xenevtchn_handle*) { return Close(); }
int xenevtchn_fd(xenevtchn_handle*) { return FakeXen::Current().pending.get(); }

xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle*, uint32_t domid,
                                                     evtchn_port_t remote) {
  FakeXen& xen = FakeXen::Current();
  if (xen.Fails("xenevtchn_bind_interdomain")) return -1;
  const auto at = xen.ports.find({domid, remote});
  if (at == xen.ports.end() || at->second.status != EVTCHNSTAT_unbound ||
      at->second.u.unbound.dom != 0) {
    errno = EINVAL;
    return -1;
  }
  const evtchn_port_t local = 100 + remote;
  xen.bound.insert(local);
  return static_cast<xenevtchn_port_or_error_t>(local);
}

int xenevtchn_unbind(xenevtchn_handle*, evtchn_port_t port) {
  return FakeXen::Current().bound.erase(port) == 1 ? 0 : -1;
}

int xenevtchn_notify(xenevtchn_handle*, evtchn_port_t port) {
  FakeXen::Current().notified.push_back(port);
  return 0;
}

// Reading blocks where nothing is pending: a test that does so hangs, as the daemon would.
xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle*) {
  FakeXen& xen = FakeXen::Current();
  ++xen.pending_calls;
  eventfd_t count = 0;
  if (::eventfd_read(xen.pending.get(), &count) != 0) return -1;
  return static_cast<xenevtchn_port_or_error_t>(*xen.bound.begin());
}

int xenevtchn_unmask(xenevtchn_handle*, evtchn_port_t port) {
  FakeXen::Current().unmasked.push_back(port);
  return 0;
}

}  // extern "C"
// NOLINTEND(readability-inconsistent-declaration-parameter-name)

}  // namespace tmem::xen
