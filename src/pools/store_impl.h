// For the files of Store only: what is behind its face.
//
//   store.cc            guests, pools, gets and flushes
//   store_puts.cc       the way of a put
//   store_survivors.cc  what a process before this one left
//   store_figures.cc    statistics
#ifndef TMEM_POOLS_STORE_IMPL_H_
#define TMEM_POOLS_STORE_IMPL_H_

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "base/mutex.h"
#include "pools/arena.h"
#include "pools/dictionary_files.h"
#include "pools/guest.h"
#include "pools/guest_records.h"
#include "pools/keyspace.h"
#include "pools/memory.h"
#include "pools/object_records.h"
#include "pools/recompressor.h"
#include "pools/recovery.h"
#include "pools/scrubber.h"
#include "pools/shared_pools.h"
#include "pools/store.h"
#include "pools/store_files.h"

namespace tmem {

// What a Location can name, less the one that an arena has to spare.
inline constexpr uint64_t kMaxSegments = Location::kMaxSegments - 1;

// Whole segments that fit into `bytes`.
inline uint32_t SegmentsIn(Bytes bytes) {
  return static_cast<uint32_t>(std::min(bytes.value / kSegmentSize, kMaxSegments));
}

inline Bytes BytesOf(uint64_t segments) { return Bytes(segments * kSegmentSize); }

// What a guest's settings mean to Memory.
Terms TermsOf(const GuestSettings& settings);

class Store::Impl {
 public:
  // Files and arena of one StoreFiles.
  Impl(StoreFiles files, std::unique_ptr<Arena> arena, uint32_t capacity, const Config& config);
  ~Impl();

  const Uuid& id() const { return id_; }

  Result<std::shared_ptr<Guest>> AddGuest(const GuestIdentity& identity,
                                          const GuestSettings& settings);
  std::vector<GuestIdentity> Survivors() const;
  RecoveryProgress recovery_progress() const { return recovery_->progress(); }
  void RemoveGuest(GuestId id);
  Result<void> Configure(GuestId id, const GuestSettings& settings);
  Result<std::shared_ptr<Guest>> Find(GuestId id) const;
  std::vector<GuestId> Guests() const;
  Bytes FlushEphemeral(Guest& guest);
  Bytes SetCapacity(Bytes capacity);
  Memory& memory() { return memory_; }
  void Tick(TimePoint now);
  std::vector<CorruptPage> Scrub(PageCount budget);
  TimePoint Recompress(TimePoint now, PageCodec& codec);
  void OnBacklog(std::function<void()> listener) { on_backlog_ = std::move(listener); }

  std::expected<PoolId, NewPoolError> NewPool(Guest& guest, const PoolOptions& options,
                                              std::optional<RingPosition> at);
  FlushStatus DestroyPool(Guest& guest, PoolId pool, PageCount budget,
                          std::optional<RingPosition> at);

  // What an operation on a pool works with: where its pages are, and its number there.
  struct Ground {
    Guest::Pool pool;
    Keyspace* keyspace = nullptr;
    uint32_t number = 0;

    static constexpr uint32_t kSharedPoolNumber = 0;  // the only pool of its keyspace

    explicit operator bool() const { return keyspace != nullptr; }
    PageRef Ref(const ObjectId& object, PageIndex index) const {
      return {.ticket = pool.ticket, .pool = number, .object = object, .index = index};
    }
  };
  Ground GroundOf(Guest& guest, PoolId pool);
  // REQUIRES: handles.size() <= kGroup.
  template <class Visit>
  void ForEachPool(Guest& guest, std::span<const Handle> handles, Visit visit);
  // A page's payload, and the mode that it came from.
  struct Compressed {
    CompressMode mode;
    Payload payload;
  };
  // Compresses the page unless that was done.
  PutStatus Put(Guest& guest, const Handle& handle, PageView page, PageCodec& codec,
                const std::optional<Compressed>& compressed);
  struct Ready;
  std::optional<Ready> Prepare(Guest& guest, const Handle& handle, const Compressed& page);
  PutStatus Enter(Guest& guest, Ready&& page, Keyspace::OldPage old_page);
  // False if the put has to be looked at alone: it will or may be refused, or look for room; or its
  // object, of a shared pool, may come to be charged to the guest.
  bool MayBeStoredAtOnce(const Guest& guest, const Ground& ground) const {
    if (!ground || ground.pool.shared || guest.frozen()) return false;
    return ground.pool.page_class == PageClass::kEphemeral ||
           (!ground.keyspace->may_shrink() && !memory_.scarce());
  }
  CompressMode ModeOfPut(Guest& guest, const Ground& ground, PageCodec& codec);
  std::expected<Keyspace::Incoming, Refusal> Accommodate(Guest& guest, const Ground& ground,
                                                         const PageRef& ref, const Payload& payload,
                                                         Keyspace::OldPage& old_page,
                                                         Bytes& amount);
  Charge TakeCharge(Guest& guest, const Ground& ground, const PageRef& ref, Bytes amount,
                    Keyspace::OldPage& old_page);
  static bool FreeASegment(Keyspace& keyspace);
  void TellOfBacklog();

  GuestStats StatsOf(Guest& guest);
  StoreStats Stats();
  GuestShare ShareOf(const Guest& guest) const;

 private:
  Ground GroundOf(Guest& guest, PoolId pool, const std::optional<Guest::Pool>& found);
  bool MayJoin(const Guest& guest, const Uuid& uuid) const;
  Result<std::shared_ptr<Guest>> AddNewGuest(const GuestIdentity& identity,
                                             const GuestSettings& settings);
  Result<std::shared_ptr<Guest>> TakeUp(GuestId id, const GuestSettings& settings);
  std::vector<Recovery::Job> FindSurvivors();
  Recovery::Job TakeUpRecord(GuestRecords::Seat seat, std::vector<ObjectBlock*> blocks,
                             std::vector<Arena::Survivor> segments);
  void Drop(const Recovery::Job& job);
  std::shared_ptr<Guest> FirstReadyFrom(GuestId id) const;

  const UniqueFd folder_;  // locked; none if nothing outlives the process
  const Uuid id_;
  const bool shared_auth_default_;
  const std::unique_ptr<Arena> arena_;
  NodeBlocks node_blocks_;
  ObjectRecords object_records_;
  const DictionaryFiles dictionary_files_;
  GuestRecords guest_records_;
  Memory memory_;
  SharedPools shared_pools_;

  mutable Mutex mutex_{LockRank::kGuests};
  std::map<GuestId, std::shared_ptr<Guest>> guests_ TMEM_GUARDED_BY(mutex_);
  std::set<GuestId> survivors_ TMEM_GUARDED_BY(mutex_);  // of those: nobody added them yet
  PoolCounters retired_ TMEM_GUARDED_BY(mutex_);         // of guests that have gone
  std::optional<TimePoint> last_tick_;                   // of the thread that calls Tick
  Scrubber scrubber_;
  Recompressor recompressor_;
  std::function<void()> on_backlog_ = [] {};
  std::atomic<bool> told_of_backlog_{false};  // since the last Recompress
  std::optional<Recovery> recovery_;  // the first to go: its threads work on all of the above
};

}  // namespace tmem

#endif  // TMEM_POOLS_STORE_IMPL_H_
