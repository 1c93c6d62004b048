// The page store: guests, their pools, and every page that tmemd holds.
//
// A page is stored under its handle (guest's pool, object id, index). The rules are those of the
// old hypervisor's tmem (docs/architecture.md, "Semantics"):
//   - a get from a private ephemeral pool removes the page; from a persistent or shared pool not
//   - a put over a stored page replaces it; if it cannot be stored, the old page is dropped too
//   - persistent pages stay until flushed; ephemeral pages may vanish at any time
//   - flushing what is not there succeeds
//   - a frozen guest's puts are refused (and drop the old page), its flushes are executed
//   - a shared pool is ephemeral, needs authorization, and lives until its last guest leaves
//
// A store may keep its pages in files on a tmpfs: they outlive the process, and the next store that
// opens the same folder has all of them (docs/store-format.md), its guests as survivors until they
// are added again or removed.
//
// Memory: pages live in segments of kSegmentSize, each owned by one guest (or one shared pool) and
// one class. Segments in use never exceed the capacity; a guest's charge never exceeds its cap; its
// reserve is available to its persistent pages at once. Beyond, the policy decides (policy.h): what
// a guest's persistent pages may take, and, when memory is short, whose oldest ephemeral segment is
// evicted. If there is none to evict, the put is refused.
//
// Threads: all methods may be called from any thread. Operations on different partitions run in
// parallel; no lock is held across compression. Operations of one guest on one object that are
// issued in order by one thread take effect in order. A PageCodec belongs to the calling thread.
#ifndef TMEM_POOLS_STORE_H_
#define TMEM_POOLS_STORE_H_

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/units.h"
#include "compress/page_codec.h"
#include "pools/settings.h"
#include "pools/shares.h"
#include "pools/stats.h"

namespace tmem {

inline constexpr uint32_t kMaxPoolsPerGuest = 16;
inline constexpr uint32_t kMaxSharedPools = 16;  // a host

enum class PutStatus : uint8_t { kStored, kNoMemory, kFrozen, kNoPool };
enum class GetStatus : uint8_t {
  kHit,
  kMiss,
  kEmpty,    // a miss, and the pool holds no page at all
  kCorrupt,  // stored, but does not decode or verify; dropped if ephemeral
  kNoPool,
};
// What is about to come.
enum class Ahead : uint8_t { kGets, kPuts };
enum class FlushStatus : uint8_t {
  kDone,
  kFrozen,  // done; the guest is frozen
  kMore,    // the budget is used up: call again to go on
  kNoPool,
};
enum class NewPoolError : uint8_t {
  kDenied,   // persistent and shared together
  kNoSpace,  // no free pool id, or no free shared pool
};

struct PoolOptions {
  PageClass page_class = PageClass::kEphemeral;
  bool shared = false;
  Uuid uuid{};  // of a shared pool; all ones makes the pool private
};

// A page's place: pool of the calling guest, object, index.
struct Handle {
  PoolId pool;
  ObjectId object;
  PageIndex index;
};

// Where a request stands that a guest sent: its queue, and its index in the queue's ring. A request
// whose answer was lost with a process is executed again by the next one, at the same place.
struct RingPosition {
  uint32_t queue = 0;
  uint32_t index = 0;
  bool again = false;  // a process before this one may have executed it
};

// A guest as the store knows it. Of two guests with one id, the uuid tells whether it is the same.
struct GuestIdentity {
  GuestId id;
  Uuid uuid{};
  std::string name{};  // up to 63 bytes of it are kept, for people and for the next process
};

// A page whose payload is not what was stored.
struct CorruptPage {
  GuestId guest;
  Handle handle;
};

class Guest;  // guest.h, private to this room

class Store {
 public:
  struct Config {
    std::string path = {};             // a folder on a tmpfs; empty: memory of this process
    uint32_t recovery_threads = 1;     // that find the survivors' pages again
    Bytes capacity = MiB(256);         // rounded down to whole segments
    Bytes max_capacity = kUnlimited;   // upper bound of SetCapacity; default: 4 x capacity. Address
                                       // space is reserved for it, memory is not.
    bool shared_auth_default = false;  // may guests join shared pools that nobody authorized?
    PolicySettings policy{};
  };

  // kInvalid for a capacity below one segment, kExhausted if the address space cannot be reserved;
  // with a path, also the errors of StoreFiles::Open. Returns before the survivors' pages are
  // found.
  static Result<std::unique_ptr<Store>> Create(const Config& config);
  // Pages in files stay. REQUIRES: no other thread is inside a method, and no guest handle is left.
  ~Store();

  // A random number for this store's life, which is as long as that of its files: a frontend that
  // finds another one has lost its pages.
  const Uuid& id() const;

  // ---- guests (control path) ----

  // A survivor is taken up with its pools and pages; if another guest has its id now, it is
  // removed. kExists if the id is in use, kInvalid for bad settings, kUnavailable while the
  // survivor's pages are still being found: try again. The reserve is not checked against others':
  // reserves may be overcommitted by an administrator, and are then served in order.
  Result<std::shared_ptr<Guest>> AddGuest(const GuestIdentity& identity,
                                          const GuestSettings& settings);
  Result<std::shared_ptr<Guest>> AddGuest(GuestId id, const GuestSettings& settings) {
    return AddGuest(GuestIdentity{id}, settings);
  }
  // Guests that a process before this one left, and that nobody added or removed since.
  std::vector<GuestIdentity> Survivors() const;
  // How far the search for their pages is.
  RecoveryProgress recovery_progress() const;
  // Flushes all that the guest owns and leaves its shared pools. Operations on its handle from now
  // on find no pool. Nothing if there is no such guest.
  void RemoveGuest(GuestId id);
  // Takes effect for the next operation. A cap below what is stored evicts ephemeral pages until
  // it holds, and refuses persistent puts while it does not.
  Result<void> Configure(GuestId id, const GuestSettings& settings);
  Result<GuestSettings> SettingsOf(GuestId id) const;
  std::vector<GuestId> Guests() const;

  // How much of its own memory the guest has given up, as observed: on Xen its static maximum less
  // its current allocation. From then on in place of its settings'. Counts for the next segment, in
  // whole segments.
  Result<void> SetSurrendered(GuestId id, Bytes surrendered);

  // Drops the guest's ephemeral pages in private pools. Returns the bytes given back.
  Result<Bytes> FlushEphemeral(GuestId id);

  // Evicts ephemeral segments until at most `capacity` (rounded down to whole segments) is in use.
  // Returns the capacity now in force: larger than asked while persistent pages hold more; it then
  // shrinks as they go. Memory is returned to the system.
  Bytes SetCapacity(Bytes capacity);

  // Divides memory in another way from now on; what is stored stays. kInvalid for bad settings.
  Result<void> SetPolicy(const PolicySettings& settings);
  PolicySettings policy() const;
  // To be called about once a second, by one thread: policies learn from what happened since the
  // last call. `now` is of any clock that does not go backwards.
  void Tick(TimePoint now);

  // Checks at most `budget` persistent pages more against their checksums, going round all guests,
  // and stops at the end of a round. Returns the corrupt ones: they stay, and a get of them is
  // answered kCorrupt. To be called by one thread.
  std::vector<CorruptPage> Scrub(PageCount budget);

  // Compresses what waits for it, and what has long been unread, of guests whose mode is
  // CompressMode::kAuto. Works for some milliseconds for each guest; returns when to call again:
  // `now` if at once. To be called by one thread, with `now` of any clock that does not go
  // backwards.
  TimePoint Recompress(TimePoint now, PageCodec& codec);
  // `listener` is told, by a thread that puts, of the first page that comes to wait after each call
  // of Recompress. REQUIRES: no operation is under way.
  void OnBacklog(std::function<void()> listener);

  // ---- the data path ----

  // Both take effect once for one place in a ring, and answer alike, if they are called again by a
  // process after this one.
  std::expected<PoolId, NewPoolError> NewPool(Guest& guest, const PoolOptions& options,
                                              std::optional<RingPosition> at = std::nullopt);
  // Flushes at most `budget` pages; kMore if some remain. The pool answers kNoPool to everything
  // else from the first call on.
  FlushStatus DestroyPool(Guest& guest, PoolId pool, PageCount budget,
                          std::optional<RingPosition> at = std::nullopt);
  // The guest's rings begin anew: places in them are other ones from now on.
  static void ForgetRequests(Guest& guest);

  // How many pages are worked on together, so that what they wait for is waited for once.
  static constexpr size_t kGroup = 16;
  // A hint of operations on these pages that are about to come: brings into the cache what they
  // will look at. Worth its while from two pages on; of more than kGroup, of the first ones.
  void Prefetch(Guest& guest, std::span<const Handle> handles, Ahead ahead);
  // Several puts of a guest, as if they were made one after the other.
  class Puts;
  // REQUIRES: nobody writes to `page` meanwhile (a copy, never a page shared with a guest).
  PutStatus Put(Guest& guest, const Handle& handle, PageView page, PageCodec& codec);
  // `page` is unspecified unless kHit. REQUIRES: `page` is private memory.
  GetStatus Get(Guest& guest, const Handle& handle, MutablePageView page, PageCodec& codec);
  FlushStatus FlushPage(Guest& guest, const Handle& handle);
  // Several, as if they were flushed one after the other; of each, its status.
  // REQUIRES: as many statuses as handles, at most kGroup.
  void FlushPages(Guest& guest, std::span<const Handle> handles, std::span<FlushStatus> statuses);
  // Flushes at most `budget` pages of the object; kMore if some remain.
  FlushStatus FlushObject(Guest& guest, PoolId pool, const ObjectId& object, PageCount budget);

  // The pool's class, or nullopt: no such pool.
  static std::optional<PageClass> ClassOf(const Guest& guest, PoolId pool);

  // ---- figures ----

  Result<GuestStats> StatsOf(GuestId id) const;
  StoreStats Stats() const;
  // What the guest is entitled to and why, and why it was refused.
  Result<GuestShare> ShareOf(GuestId id) const;

 private:
  class Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Pages are added, and then enter the store together: until then, nothing is changed.
class Store::Puts {
 public:
  // `codec` is the calling thread's.
  Puts(Store& store, Guest& guest, PageCodec& codec);
  Puts(const Puts&) = delete;
  Puts& operator=(const Puts&) = delete;

  bool full() const { return count_ == kGroup; }
  // As Put; `page` stays as it is until Enter. REQUIRES: !full().
  void Add(const Handle& handle, PageView page);
  // What became of each page, in the order in which they were added; valid until the next Enter.
  std::span<const PutStatus> Enter();

 private:
  struct Member {
    Handle handle;
    const std::byte* page = nullptr;
    CompressMode mode = CompressMode::kOff;
    Payload payload;  // without bytes if it has to be looked at alone
  };

  Impl& store_;
  Guest& guest_;
  PageCodec& codec_;
  size_t count_ = 0;
  std::array<Member, kGroup> members_;
  std::array<PutStatus, kGroup> statuses_;
  alignas(64) std::array<std::array<std::byte, kMaxCompressed>, kGroup> rooms_;
};

}  // namespace tmem

#endif  // TMEM_POOLS_STORE_H_
