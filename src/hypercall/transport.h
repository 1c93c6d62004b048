// What tmemd needs from a hypervisor, small enough to read at a glance: a directory of keys with
// watches (xenstore), shared pages (grants), notification (event channels) and the list of guests.
//
// Two implementations: hypercall/xen over libxenstore, libxengnttab, libxenevtchn and libxenctrl,
// and hypercall/loopback, which has no Xen underneath. Each method names the libxen calls that it
// stands for, so that neither side grows what the other cannot do.
//
// Threads: a Directory and a Hypervisor belong to the control thread. SharedPages and
// EventChannel may be used, and destroyed, by any one thread at a time.
#ifndef TMEM_HYPERCALL_TRANSPORT_H_
#define TMEM_HYPERCALL_TRANSPORT_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/units.h"

namespace tmem {

// A guest's name for a page that it shares (grant_ref_t), and for its end of a notification
// channel (evtchn_port_t). Numbers that a guest wrote: never trusted, only passed on.
struct GrantRef {
  uint32_t value = 0;
  constexpr auto operator<=>(const GrantRef&) const = default;
};
struct EventPort {
  uint32_t value = 0;
  constexpr auto operator<=>(const EventPort&) const = default;
};

// Domain 0: owner of what is nobody else's, and allowed everything.
inline constexpr GuestId kBackendDomain{0};

// Watch these for guests that come and go; Hypervisor::Guests() then tells which.
inline constexpr std::string_view kIntroduceDomain = "@introduceDomain";
inline constexpr std::string_view kReleaseDomain = "@releaseDomain";

// What domain 0's balloon is to make of its memory, in KiB. Watch it for toolstacks that take
// memory from domain 0.
inline constexpr std::string_view kBackendTargetPath = "/local/domain/0/memory/target";

// A tree of small strings, as xenstore: paths are absolute, '/'-separated, at most 3,072 bytes;
// each node has a value (at most 4,096 bytes, may be empty) and children.
class Directory {
 public:
  // The owner may do everything with a node; `reader`, if set, may read it; nobody else but
  // domain 0 sees it. New nodes have their parent's permissions until set.
  struct Permissions {
    GuestId owner = kBackendDomain;
    std::optional<GuestId> reader;
  };
  struct Node {
    std::string path;
    std::string value;
    std::optional<Permissions> permissions;  // absent: as the parent's
  };
  struct WatchEvent {
    std::string path;   // the node that changed: watched, or below
    std::string token;  // as given to Watch
  };

  virtual ~Directory() = default;

  // kNotFound if there is no such node. (xs_read)
  virtual Result<std::string> Read(const std::string& path) = 0;
  // Names of the children, in no order; kNotFound if there is no such node. (xs_directory)
  virtual Result<std::vector<std::string>> List(const std::string& path) = 0;
  // Creates the node and missing parents, or changes its value. (xs_write)
  virtual Result<void> Write(const std::string& path, const std::string& value) = 0;
  // Writes all or nothing. (xs_transaction_*, xs_write, xs_set_permissions)
  virtual Result<void> WriteAll(std::span<const Node> nodes) = 0;
  // Removes the node and all below; success if there was none. (xs_rm)
  virtual Result<void> Remove(const std::string& path) = 0;

  // From now on, changes of the node, its creation, removal, and those of all below, are reported
  // with `token`; one report comes at once. Reports of one node may be folded. (xs_watch)
  virtual Result<void> Watch(const std::string& path, const std::string& token) = 0;
  virtual Result<void> Unwatch(const std::string& path, const std::string& token) = 0;
  // Readable when NextEvent has something. (xs_fileno)
  virtual int fd() const = 0;
  // Never blocks. (xs_check_watch)
  virtual std::optional<WatchEvent> NextEvent() = 0;
};

// Pages of a guest, mapped here, contiguous, readable and writable by both; unmapped with this
// object. The guest may change them at any time. (xengnttab_map_domain_grant_refs, _unmap)
class SharedPages {
 public:
  virtual ~SharedPages() = default;
  virtual std::span<std::byte> bytes() const = 0;  // 4,096 a grant reference, in their order
};

// Our end of a bound notification channel. Notifications are not counted: several may arrive as
// one. (xenevtchn_bind_interdomain; unbound with this object)
class EventChannel {
 public:
  virtual ~EventChannel() = default;
  // Readable when a notification arrived that was not acknowledged. (xenevtchn_fd)
  virtual int fd() const = 0;
  // Allows the next notification to come. (xenevtchn_pending, xenevtchn_unmask)
  virtual void Acknowledge() = 0;
  // Wakes the guest. Cannot fail in a way that matters: a guest that is gone hears nothing.
  // Never blocks. (xenevtchn_notify)
  virtual void Notify() = 0;
};

struct GuestInfo {
  GuestId id;
  std::string name;  // unique while the guest runs
  Uuid uuid;         // the same after a reboot of the guest
};

// The host's memory, as far as it is domain 0's or nobody's.
struct PhysicalMemory {
  Bytes free;     // that no domain has, nor was promised to one that is being made
  Bytes held;     // by domain 0, now
  Bytes target;   // what domain 0 is to hold; its balloon is on the way there
  Bytes maximum;  // that domain 0 may hold
};

class Hypervisor {
 public:
  virtual ~Hypervisor() = default;

  virtual std::string_view name() const = 0;  // "loopback" or "xen"
  virtual Directory& directory() = 0;

  // The guests that run now, domain 0 not among them. A guest that is dying but not gone is not
  // listed. (xs_directory of /local/domain, xs_is_domain_introduced, xc_domain_getinfo)
  virtual Result<std::vector<GuestInfo>> Guests() = 0;

  // What each guest gave up of its own memory: its static maximum less what it holds now. Guests of
  // which that is not known are left out: all of them, if the hypervisor has no such thing.
  // (xc_domain_getinfolist, xs_read of memory/static-max)
  virtual std::map<GuestId, Bytes> Surrendered() { return {}; }

  // kUnsupported if the hypervisor has no such thing. (xc_physinfo, xc_domain_getinfolist, xs_read
  // of kBackendTargetPath and memory/static-max)
  virtual Result<PhysicalMemory> Memory() {
    return Fail(ErrorCode::kUnsupported, "this hypervisor does not tell of the host's memory");
  }
  // Tells domain 0's balloon where to go, as a toolstack would; it takes its time. REQUIRES: at
  // most Memory()->maximum. (xc_domain_setmaxmem, xs_write of kBackendTargetPath)
  virtual Result<void> SetBackendTarget(Bytes target) {
    (void)target;
    return Fail(ErrorCode::kUnsupported, "this hypervisor has no balloon for domain 0");
  }

  // Guests that a daemon before this one served, told before the first call of Guests(). Xen knows
  // by itself which of them still run; guests that have to connect again (loopback's) are listed
  // for a while before they do.
  virtual void Expect(std::span<const GuestInfo> guests) { (void)guests; }

  // All or nothing. Fails for references that the guest did not grant. REQUIRES: refs not empty.
  virtual Result<std::unique_ptr<SharedPages>> Map(GuestId guest,
                                                   std::span<const GrantRef> refs) = 0;
  // kUnavailable if the port is still bound by a process that is about to end: try again soon.
  virtual Result<std::unique_ptr<EventChannel>> Bind(GuestId guest, EventPort port) = 0;
};

}  // namespace tmem

#endif  // TMEM_HYPERCALL_TRANSPORT_H_
