// What the store's files hold beside the pages: who owns each segment, which objects there are, and
// each guest's pools. With the record headers of the segments (segment.h) this is all that the next
// daemon needs to find every page again (docs/store-format.md).
//
// Each record has one word that makes it count, an atomic that is written last when it comes and
// first when it goes. A process that is killed stops between two stores, never inside an aligned
// one, and what it stored is there: so the order of stores in the program is all that has to hold.
//
// These are formats, plain memory: whoever changes one raises kStoreVersion (store_files.h).
#ifndef TMEM_POOLS_RECORDS_H_
#define TMEM_POOLS_RECORDS_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <type_traits>

#include "base/units.h"
#include "pools/segment.h"
#include "pools/settings.h"

namespace tmem {

// Whose segments and objects these are: a guest's private pools, or a shared pool. 0 is nobody.
using KeyspaceId = uint32_t;
inline constexpr KeyspaceId kNobody = 0;

// ---- segments ----

struct SegmentOwner {
  KeyspaceId keyspace = kNobody;
  PageClass page_class = PageClass::kEphemeral;
  SizeClass size_class = 0;
};

struct SegmentRecord {
  std::atomic<uint64_t> word;  // of a SegmentOwner; 0: free
  uint64_t opened;             // rises from one opened segment to the next: their order by age

  static constexpr uint64_t WordOf(const SegmentOwner& owner) {
    return uint64_t{owner.keyspace} << 32 | uint64_t{owner.size_class} << 8 |
           static_cast<uint64_t>(owner.page_class);
  }
  // Absent: free, or nonsense.
  static std::optional<SegmentOwner> OwnerOf(uint64_t word);
};

// ---- objects ----

struct ObjectRecord {
  ObjectId id;
  std::atomic<uint32_t> pool_plus_one;  // 0: the record is free
  uint32_t reserved;
};

// Objects of one partition of one keyspace. Object number n is record n % kRecords of the
// partition's block with ordinal n / kRecords.
struct ObjectBlock {
  static constexpr uint32_t kRecords = 127;

  std::atomic<KeyspaceId> owner;  // kNobody: the block is free
  uint32_t partition;
  uint32_t ordinal;
  uint32_t reserved[5];
  std::array<ObjectRecord, kRecords> records;
};

// ---- guests ----

struct PoolRecord {
  std::atomic<uint64_t> word;  // guest.cc has its layout; 0: the id is free
  Uuid uuid;                   // of the shared pool that it is
};

// The last request of a queue that made or ended a pool: should its answer be lost with the daemon,
// the guest's ring still has the request, and its second execution must find what the first did.
struct RequestRecord {
  static constexpr uint64_t kValid = uint64_t{1} << 32;

  std::atomic<uint64_t> key;  // kValid | its index in the ring; 0: none
  uint64_t pool_word;         // of the pool, as it was or came to be
  uint32_t pool;
  uint32_t reserved;
};

struct GuestRecord {
  enum Use : uint32_t {
    kFree,
    kStays,
    kLeaves,  // it is being removed: whatever is still there goes
  };
  static constexpr uint32_t kPools = 16;
  static constexpr uint32_t kQueues = 16;
  static constexpr size_t kNameSize = 64;

  std::atomic<Use> use;
  GuestId guest;
  uint16_t reserved;
  Uuid uuid;
  std::array<char, kNameSize> name;  // ended by a zero
  uint64_t hash_key;                 // of the guest's objects: tells their partitions
  uint64_t last_serial;              // of its pools
  std::array<PoolRecord, kPools> pools;
  std::array<RequestRecord, kQueues> requests;
};

static_assert(sizeof(SegmentRecord) == 16 && sizeof(ObjectRecord) == 32 &&
              sizeof(ObjectBlock) == 4096 && sizeof(PoolRecord) == 24 &&
              sizeof(RequestRecord) == 24 && sizeof(GuestRecord) <= 1024);
static_assert(std::is_trivially_destructible_v<ObjectBlock> &&
              std::is_trivially_destructible_v<GuestRecord>);

}  // namespace tmem

#endif  // TMEM_POOLS_RECORDS_H_
