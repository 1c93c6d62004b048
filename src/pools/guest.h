// One guest: its settings, its ledger, its pools, and the keyspace of its private pools.
//
// A pool id maps to one atomic word that says all an operation needs to know: whether the pool
// lives, its class, and where its pages are. A new serial number in each new word lets an operation
// tell, under its partition's lock, that the pool is still the one it began with. The words stand
// in the guest's record, where the next process finds them.
//
// Thread-safe. Owned by shared pointers: operations may outlive the guest's removal for a moment,
// and then find no pool.
#ifndef TMEM_POOLS_GUEST_H_
#define TMEM_POOLS_GUEST_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/units.h"
#include "pools/guest_records.h"
#include "pools/keyspace.h"
#include "pools/ledger.h"
#include "pools/settings.h"
#include "pools/shared_pools.h"
#include "pools/shares.h"
#include "pools/stats.h"
#include "pools/store.h"

namespace tmem {

class Guest {
 public:
  // A pool as one operation sees it.
  struct Pool {
    PoolTicket ticket;
    PageClass page_class = PageClass::kEphemeral;
    std::optional<SharedPools::Place> shared;  // absent: private
  };

  // With the pools that its record has. `keyspace` is of the seat's id.
  Guest(const GuestSettings& settings, GuestRecords::Seat seat, std::shared_ptr<Keyspace> keyspace);

  GuestId id() const { return record_.guest; }
  const Uuid& uuid() const { return record_.uuid; }
  std::string name() const { return record_.name.data(); }
  Ledger& ledger() { return ledger_; }
  const Ledger& ledger() const { return ledger_; }
  Keyspace& keyspace() { return *keyspace_; }
  const Keyspace& keyspace() const { return *keyspace_; }

  GuestSettings settings() const;
  // The ledger's cap and the hot copies below follow; the keyspace's stake does not.
  void SetSettings(const GuestSettings& settings);
  bool frozen() const { return frozen_.load(std::memory_order_relaxed); }
  CompressMode compress(PageClass page_class) const {
    return compress_[static_cast<int>(page_class)].load(std::memory_order_relaxed);
  }

  // Processor time that went into compressing what the guest's pages are stored as.
  void NoteRecompression(Duration spent);
  Duration recompression() const {
    return Duration(recompression_ns_.load(std::memory_order_relaxed));
  }

  void NoteRefusal(Refusal why);
  RefusalTally refusals() const;

  // nullopt: no such pool, or it is being destroyed.
  std::optional<Pool> Find(PoolId pool) const;

  // Held through each DestroyPool, so that a pool ends only once: two calls at the same time could
  // release an id twice, or drain the pool that took it over.
  Mutex& ending() { return ending_; }

  // A shared pool's place, and its uuid.
  struct Membership {
    SharedPools::Place place;
    Uuid uuid;
  };
  // Takes a free id; nullopt if there is none, or the guest is closed. `at`: see OpenedAt.
  std::optional<PoolId> Open(PageClass page_class, const std::optional<Membership>& shared,
                             std::optional<RingPosition> at = std::nullopt);
  // Ends a pool: nobody can use it from now on, its id is not free yet. False if it did not live.
  bool Close(PoolId pool, std::optional<RingPosition> at = std::nullopt);
  // A pool that was closed and is not yet released.
  std::optional<Pool> FindClosed(PoolId pool) const;
  // Frees a closed pool's id, and adds to the counters of pools that ended.
  void Release(PoolId pool, const PoolCounters& counters);
  // Open and Close note what they are about to do, and on behalf of which request. If that is
  // executed again, because its answer was lost with a process: the pool that it opened, or whether
  // it closed that pool.
  std::optional<PoolId> OpenedAt(RingPosition at) const;
  bool ClosedAt(RingPosition at, PoolId pool) const;
  // Forgets these notes.
  void ForgetRequests();
  // No pool can be opened any more; no process after this one takes the guest up again.
  void CloseForGood();

  // ---- from one process to the next ----

  // The class of each pool; bits of those that live and are private.
  std::array<PageClass, kMaxPoolsPerGuest> PoolClasses() const;
  uint32_t PrivatePools() const;
  std::optional<Membership> MembershipOf(PoolId pool) const;
  // The record stays for the next process.
  void Leave() { seat_.Leave(); }

  PoolCounters retired() const;

 private:
  std::optional<Pool> FindInState(PoolId pool, uint64_t state) const;
  void Note(std::optional<RingPosition> at, PoolId pool, uint64_t word) TMEM_REQUIRES(mutex_);
  const RequestRecord* NoteOf(RingPosition at) const TMEM_REQUIRES(mutex_);
  std::atomic<uint64_t>& WordOf(PoolId pool) const { return record_.pools[pool.value].word; }

  GuestRecords::Seat seat_;  // outlives the keyspace, whose segments it owns
  GuestRecord& record_;      // pool words: written under mutex_ with release, read with acquire
  Ledger ledger_;
  const std::shared_ptr<Keyspace> keyspace_;

  // Hot copies of settings. Relaxed: they take effect soon, not at once.
  std::atomic<bool> frozen_;
  std::array<std::atomic<CompressMode>, kPageClasses> compress_;

  // Relaxed: figures to look at.
  static constexpr uint32_t kNoRefusal = UINT32_MAX;
  std::array<std::atomic<uint64_t>, kRefusals> refusals_{};
  std::atomic<uint32_t> last_refusal_ = kNoRefusal;
  std::atomic<Duration::rep> recompression_ns_{0};

  Mutex ending_{LockRank::kEnding};
  mutable Mutex mutex_{LockRank::kLeaf};
  GuestSettings settings_ TMEM_GUARDED_BY(mutex_);
  PoolCounters retired_ TMEM_GUARDED_BY(mutex_);
  bool closed_for_good_ TMEM_GUARDED_BY(mutex_) = false;
};

}  // namespace tmem

#endif  // TMEM_POOLS_GUEST_H_
