// Counters of the store, as snapshots. Everything that the old hypervisor's tmem-list printed is
// here (design: reference of xl 4.12), under plain names. Pages unless a name says otherwise.
//
// A counter is never reset while its owner lives. Snapshots are consistent per partition, not
// across them: sums may be off by operations in flight.
#ifndef TMEM_POOLS_STATS_H_
#define TMEM_POOLS_STATS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/units.h"
#include "pools/settings.h"

namespace tmem {

// Operations on one pool since it was created.
struct PoolCounters {
  uint64_t puts = 0;               // tried
  uint64_t puts_stored = 0;        // succeeded
  uint64_t puts_no_memory = 0;     // refused for want of room: cap, capacity or others' reserves
  uint64_t puts_frozen = 0;        // refused because the guest was frozen
  uint64_t dup_puts_replaced = 0;  // of the stored ones: replaced an older page
  uint64_t dup_puts_flushed = 0;   // of the refused ones: dropped an older page
  uint64_t gets = 0;
  uint64_t gets_found = 0;
  uint64_t flushes = 0;  // page flushes
  uint64_t flushes_found = 0;
  uint64_t object_flushes = 0;
  uint64_t object_flushes_found = 0;
  uint64_t evicted = 0;  // ephemeral pages dropped to make room
  uint64_t corrupt = 0;  // gets whose payload failed to decode or verify

  PoolCounters& operator+=(const PoolCounters& other);
};

// What lies stored, now.
struct StoredCounters {
  uint64_t pages = 0;
  uint64_t objects = 0;
  uint64_t same_filled = 0;    // pages kept as one word
  uint64_t compressed = 0;     // pages kept compressed, dense ones included
  uint64_t dense = 0;          // pages kept as CompressMode::kDense makes them
  uint64_t dense_bytes = 0;    // sum of their payloads
  uint64_t payload_bytes = 0;  // sum of all payloads
  uint64_t charged_bytes = 0;  // payloads rounded to their slots, and record headers

  StoredCounters& operator+=(const StoredCounters& other);
};

// Pages compressed while they lay stored, for a guest whose mode is CompressMode::kAuto.
struct RecompressionCounters {
  uint64_t waiting = 0;     // put as they came, and not yet tried
  uint64_t made_fast = 0;   // compressed as CompressMode::kFast does
  uint64_t made_dense = 0;  // as kDense does
  uint64_t left = 0;        // tried, or known not to shrink, and left as they were
  uint64_t cpu_ns = 0;      // processor time for all of that
};

struct PoolStats {
  PoolId id;
  PageClass page_class = PageClass::kEphemeral;
  bool shared = false;
  Uuid uuid;              // of shared pools
  uint32_t sharers = 1;   // guests in the pool
  PoolCounters counters;  // a shared pool's: of all its guests together
  StoredCounters stored;
};

struct GuestStats {
  GuestId id;
  GuestSettings settings;
  PoolCounters counters;                // of this guest's private pools, destroyed ones included
  StoredCounters stored[kPageClasses];  // private pools
  Bytes charged;                 // against the cap: private pools and its part of shared ones
  Bytes segments[kPageClasses];  // memory held in whole segments
  RecompressionCounters recompressed;
  std::vector<PoolStats> pools;
};

// The search for the pages that a process before this one left.
struct RecoveryProgress {
  uint32_t guests = 0;  // that survived
  uint32_t guests_ready = 0;
  Bytes segments;      // that they left
  Bytes searched;      // of those
  uint64_t pages = 0;  // found so far

  bool done() const { return guests_ready == guests; }
};

// The check of persistent pages that nobody asks for, against their checksums.
struct ScrubProgress {
  uint64_t passes = 0;   // over all guests, finished
  uint64_t pages = 0;    // checked, in all passes
  uint64_t corrupt = 0;  // of those
};

struct StoreStats {
  RecoveryProgress recovery;
  ScrubProgress scrub;
  Bytes capacity;
  Bytes segments[kPageClasses];  // memory held in whole segments, all guests
  Bytes index_bytes;             // heap memory of objects, page trees and segment tables
  StoredCounters stored[kPageClasses];
  PoolCounters counters;    // sum over the guests that live and that have gone
  uint64_t operations = 0;  // puts, gets, flushes
  uint64_t segments_evicted = 0;
  uint64_t relinquished_bytes = 0;  // given back by shrinking the capacity
  Bytes freeable;  // ephemeral segments and free ones: what a shrink would get at once
  uint32_t guests = 0;
  uint32_t shared_pools = 0;
};

}  // namespace tmem

#endif  // TMEM_POOLS_STATS_H_
