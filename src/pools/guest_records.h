// The records of all guests that the store knows, and who has which.
//
// Thread-safe.
#ifndef TMEM_POOLS_GUEST_RECORDS_H_
#define TMEM_POOLS_GUEST_RECORDS_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "pools/records.h"
#include "pools/region.h"
#include "pools/store.h"

namespace tmem {

class GuestRecords {
 public:
  // Keyspaces 1 to kMaxSharedPools are those of the shared pools.
  static constexpr KeyspaceId kFirstKeyspace = kMaxSharedPools + 1;

  explicit GuestRecords(Region region);
  GuestRecords(const GuestRecords&) = delete;
  GuestRecords& operator=(const GuestRecords&) = delete;

  // A record, freed with this object, unless it is left for the next process. REQUIRES: no segment
  // or object block belongs to the guest's keyspace any more when the record is freed.
  class Seat {
   public:
    Seat(Seat&& other) noexcept
        : records_(std::exchange(other.records_, nullptr)),
          number_(other.number_),
          leave_(other.leave_) {}
    Seat& operator=(Seat&&) = delete;
    ~Seat();

    GuestRecord& record() const { return records_->At(number_); }
    KeyspaceId keyspace() const { return kFirstKeyspace + number_; }
    // The record stays in use when this object goes.
    void Leave() { leave_ = true; }

   private:
    friend class GuestRecords;
    Seat(GuestRecords* records, uint32_t number) : records_(records), number_(number) {}

    GuestRecords* records_;
    uint32_t number_;
    bool leave_ = false;
  };

  // A new guest's, with no pools. nullopt if there is no memory.
  std::optional<Seat> Take(GuestId guest, const Uuid& uuid, std::string_view name);
  // Those that a process before this one left. REQUIRES: the first call.
  std::vector<Seat> Survivors();

 private:
  GuestRecord& At(uint32_t number) const {
    return reinterpret_cast<GuestRecord*>(region_.base())[number];
  }
  void Free(uint32_t number);

  const Region region_;
  Mutex mutex_{LockRank::kLeaf};
  uint32_t provided_ TMEM_GUARDED_BY(mutex_);           // records that can be touched
  std::vector<uint32_t> free_ TMEM_GUARDED_BY(mutex_);  // of those
};

}  // namespace tmem

#endif  // TMEM_POOLS_GUEST_RECORDS_H_
