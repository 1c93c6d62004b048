#include "pools/store_impl.h"

namespace tmem {

namespace {
constexpr size_t IndexOf(PageClass page_class) { return static_cast<size_t>(page_class); }
}  // namespace

GuestStats Store::Impl::StatsOf(Guest& guest) {
  GuestStats stats;
  stats.id = guest.id();
  stats.settings = guest.settings();
  stats.counters = guest.retired();
  stats.charged = guest.ledger().charged();
  stats.recompressed = guest.keyspace().recompressed();
  stats.recompressed.cpu_ns =
      static_cast<uint64_t>(std::chrono::nanoseconds(guest.recompression()).count());
  const auto held = memory_.HeldBy(guest.keyspace().stake());
  for (int i = 0; i < kPageClasses; ++i) stats.segments[i] = BytesOf(held[static_cast<size_t>(i)]);
  for (uint32_t i = 0; i < kMaxPoolsPerGuest; ++i) {
    const PoolId id{i};
    const auto living = guest.Find(id);
    const Ground ground = GroundOf(guest, id, living ? living : guest.FindClosed(id));
    if (!ground) continue;
    PoolStats pool;
    pool.id = id;
    pool.page_class = ground.pool.page_class;
    pool.shared = ground.pool.shared.has_value();
    if (pool.shared) {
      pool.uuid = shared_pools_.UuidOf(*ground.pool.shared);
      pool.sharers = shared_pools_.MembersOf(*ground.pool.shared);
    }
    pool.counters = ground.keyspace->CountersOf(ground.number);
    pool.stored = ground.keyspace->StoredIn(ground.number);
    if (!pool.shared) {
      stats.counters += pool.counters;
      stats.stored[IndexOf(pool.page_class)] += pool.stored;
    }
    // One that is being destroyed still counts, but is not seen.
    if (living) stats.pools.push_back(pool);
  }
  return stats;
}

StoreStats Store::Impl::Stats() {
  StoreStats stats;
  stats.recovery = recovery_->progress();
  stats.scrub = scrubber_.progress();
  std::vector<std::shared_ptr<Guest>> guests;
  {
    MutexLock lock(mutex_);
    for (const auto& [id, guest] : guests_) guests.push_back(guest);
    stats.counters = retired_;
  }
  stats.guests = static_cast<uint32_t>(guests.size());
  size_t index_bytes = shared_pools_.bytes();
  for (const auto& guest : guests) {
    const GuestStats one = StatsOf(*guest);
    stats.counters += one.counters;
    for (int i = 0; i < kPageClasses; ++i) stats.stored[i] += one.stored[i];
    index_bytes += guest->keyspace().bytes();
  }
  stats.shared_pools = shared_pools_.count();
  stats.counters += shared_pools_.retired();
  for (SharedPools::Place place = 0; place < kMaxSharedPools; ++place) {
    Keyspace& keyspace = shared_pools_.KeyspaceOf(place);
    stats.counters += keyspace.CountersOf(Ground::kSharedPoolNumber);
    stats.stored[IndexOf(PageClass::kEphemeral)] += keyspace.StoredIn(Ground::kSharedPoolNumber);
  }
  stats.index_bytes = Bytes(index_bytes);
  stats.operations = stats.counters.puts + stats.counters.gets + stats.counters.flushes +
                     stats.counters.object_flushes;

  const Memory::Usage usage = memory_.usage();
  stats.capacity = BytesOf(usage.capacity);
  for (size_t i = 0; i < kPageClasses; ++i) stats.segments[i] = BytesOf(usage.in_use[i]);
  stats.segments_evicted = usage.evicted;
  stats.relinquished_bytes = BytesOf(usage.relinquished).value;
  const Bytes persistent = stats.segments[IndexOf(PageClass::kPersistent)];
  stats.freeable = stats.capacity > persistent ? stats.capacity - persistent : Bytes(0);
  return stats;
}

GuestShare Store::Impl::ShareOf(const Guest& guest) const {
  const Memory::Standing standing = memory_.StandingOf(guest.keyspace().stake());
  const PolicySettings policy = memory_.policy();
  const Allotment& allotment = standing.allotment;
  const uint64_t entitled = std::min<uint64_t>(allotment.entitled(), standing.claim.terms.cap);
  return {.policy = policy.kind,
          .weight = standing.claim.terms.weight,
          .weights = standing.weights,
          .persistent_held = BytesOf(standing.claim.persistent),
          .entitled = BytesOf(entitled),
          .reserve = BytesOf(allotment.reserve),
          .for_surrendered = BytesOf(allotment.surrendered),
          .of_unclaimed = BytesOf(allotment.share),
          .unclaimed = BytesOf(standing.unclaimed),
          .surrendered = BytesOf(standing.claim.terms.surrendered),
          .surrender_percent = policy.surrender_percent,
          .wants_more = standing.claim.wants_more,
          .ephemeral_held = BytesOf(standing.claim.ephemeral),
          .ephemeral_share = BytesOf(standing.ephemeral_share),
          .refusals = guest.refusals(),
          .evictions = standing.evictions};
}

}  // namespace tmem
