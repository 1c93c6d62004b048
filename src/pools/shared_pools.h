// The shared pools of the host: which uuid each serves, and which guests are in it.
//
// A pool's pages live in a keyspace of the pool's own, which exists for the whole life of the
// store, so that an operation under way never finds its ground gone. A guest is in a pool once for
// each pool id under which it joined. When the last one leaves, the pool is drained and its place
// becomes free; the uuid is unknown from the moment of that leave on.
//
// Thread-safe; the calls that free memory must be made without any lock of this room.
#ifndef TMEM_POOLS_SHARED_POOLS_H_
#define TMEM_POOLS_SHARED_POOLS_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "base/units.h"
#include "pools/keyspace.h"
#include "pools/ledger.h"

namespace tmem {

class SharedPools {
 public:
  using Place = uint32_t;  // below kMaxSharedPools

  SharedPools(Memory& memory, NodeBlocks& blocks, ObjectRecords& records,
              const DictionaryFiles& dictionaries);

  // A new membership in the pool of that uuid, which is made if need be; nullopt if all places are
  // taken. `ledger` names the member and pays for what it puts; it must outlive the membership.
  std::optional<Place> Join(const Uuid& uuid, Ledger& ledger, uint32_t weight);

  // Goes on with a membership that a process before this one noted.
  void Resume(Place place, const Uuid& uuid, Ledger& ledger);

  // Ends one membership. What the member paid for is charged to those who stay, as far as they
  // have room, and dropped otherwise. If it was the last one, the pool then is to be drained by it.
  void Leave(Place place, Ledger& ledger);
  // Goes on draining a pool that `ledger` was the last to leave: at most `budget` pages. True if
  // nothing is left to do. REQUIRES: one call at a time for one ledger.
  bool Drain(Place place, const Ledger& ledger, PageCount budget);

  // The member's weight changed.
  void SetWeight(const Ledger& ledger, uint32_t weight);
  // The member's cap was lowered: drops pages that it paid for until its charge fits.
  void Shrink(const Ledger& ledger);

  Keyspace& KeyspaceOf(Place place) { return *pools_[place].keyspace; }
  uint32_t MembersOf(Place place) const;
  Uuid UuidOf(Place place) const;
  uint32_t count() const;  // pools with members
  size_t bytes() const;

  // The process ends; what its successor does not keep anyway stays where it is.
  void Abandon();

  // Counters of pools that ended.
  PoolCounters retired() const;

 private:
  struct Member {
    Ledger* ledger;
    uint32_t weight;
  };
  struct Pool {
    std::shared_ptr<Keyspace> keyspace;
    // One leave at a time: who is to pay for a leaver's objects must still be there when they are
    // charged.
    Mutex leaving{LockRank::kSharing};
    Uuid uuid;
    std::vector<Member> members;      // one entry a membership
    const Ledger* drainer = nullptr;  // the last to leave, while it drains the pool
    bool free() const { return members.empty() && drainer == nullptr; }
  };
  void Weigh(const Pool& pool) TMEM_REQUIRES(mutex_);

  mutable Mutex mutex_{LockRank::kPools};
  // Keyspaces are constant after construction; the rest of each is guarded by mutex_.
  std::array<Pool, kMaxSharedPools> pools_;
  PoolCounters retired_ TMEM_GUARDED_BY(mutex_);
  Memory& memory_;
};

}  // namespace tmem

#endif  // TMEM_POOLS_SHARED_POOLS_H_
