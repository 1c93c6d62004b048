// The names of the store's counters: one table for each struct of pools/stats.h, from which the
// JSON that the daemon sends and the tables that tmemctl prints are both made.
#ifndef TMEM_DAEMON_COUNTERS_H_
#define TMEM_DAEMON_COUNTERS_H_

#include <array>
#include <cstdint>
#include <string_view>

#include "pools/shares.h"
#include "pools/stats.h"

namespace tmem::daemon {

template <class Counters>
struct CounterField {
  std::string_view key;  // in JSON
  uint64_t Counters::* member;
  std::string_view label;  // for people
  bool is_bytes = false;
};

inline constexpr std::array kPoolCounterFields = {
    CounterField{"puts", &PoolCounters::puts, "puts tried"},
    CounterField{"puts_stored", &PoolCounters::puts_stored, "puts stored"},
    CounterField{"puts_no_memory", &PoolCounters::puts_no_memory, "puts refused, no memory"},
    CounterField{"puts_frozen", &PoolCounters::puts_frozen, "puts refused, frozen"},
    CounterField{"dup_puts_replaced", &PoolCounters::dup_puts_replaced, "duplicate puts, replaced"},
    CounterField{"dup_puts_flushed", &PoolCounters::dup_puts_flushed, "duplicate puts, flushed"},
    CounterField{"gets", &PoolCounters::gets, "gets tried"},
    CounterField{"gets_found", &PoolCounters::gets_found, "gets found"},
    CounterField{"flushes", &PoolCounters::flushes, "page flushes tried"},
    CounterField{"flushes_found", &PoolCounters::flushes_found, "page flushes found"},
    CounterField{"object_flushes", &PoolCounters::object_flushes, "object flushes tried"},
    CounterField{"object_flushes_found", &PoolCounters::object_flushes_found,
                 "object flushes found"},
    CounterField{"evicted", &PoolCounters::evicted, "pages evicted"},
    CounterField{"corrupt", &PoolCounters::corrupt, "pages found corrupt"},
};

inline constexpr std::array kStoredCounterFields = {
    CounterField{"pages", &StoredCounters::pages, "pages"},
    CounterField{"objects", &StoredCounters::objects, "objects"},
    CounterField{"same_filled", &StoredCounters::same_filled, "same-filled pages"},
    CounterField{"compressed", &StoredCounters::compressed, "compressed pages"},
    CounterField{"dense", &StoredCounters::dense, "densely compressed pages"},
    CounterField{"dense_bytes", &StoredCounters::dense_bytes, "payload of those", true},
    CounterField{"payload_bytes", &StoredCounters::payload_bytes, "payload", true},
    CounterField{"charged_bytes", &StoredCounters::charged_bytes, "charged", true},
};

inline constexpr std::array kRecompressionFields = {
    CounterField{"waiting", &RecompressionCounters::waiting, "pages to be compressed"},
    CounterField{"made_fast", &RecompressionCounters::made_fast, "pages compressed later"},
    CounterField{"made_dense", &RecompressionCounters::made_dense, "pages made dense"},
    CounterField{"left", &RecompressionCounters::left, "pages that did not shrink"},
    CounterField{"cpu_ns", &RecompressionCounters::cpu_ns, "ns spent on compressing later"},
};

// A counter that is added to a struct and not to its table does not compile.
static_assert(sizeof(PoolCounters) == kPoolCounterFields.size() * sizeof(uint64_t));
static_assert(sizeof(RecompressionCounters) == kRecompressionFields.size() * sizeof(uint64_t));
static_assert(sizeof(StoredCounters) == kStoredCounterFields.size() * sizeof(uint64_t));

// Why puts were refused and segments evicted, by Refusal and Eviction.
inline constexpr std::array<std::string_view, kRefusals> kRefusalNames = {
    "frozen", "cap", "entitlement", "reserves", "capacity"};
inline constexpr std::array<std::string_view, kEvictions> kEvictionNames = {
    "over_share", "replaced", "persistent", "cap", "shrunk"};

// Keys under which figures of the two classes stand, by PageClass.
inline constexpr std::array<std::string_view, kPageClasses> kPageClassNames = {"ephemeral",
                                                                               "persistent"};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_COUNTERS_H_
