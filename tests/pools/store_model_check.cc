// What StoreModel checks: that outcomes were due, and that all figures agree.
#include <algorithm>

#include "pools/store_fixture.h"
#include "pools/store_model.h"

namespace tmem {

namespace {

using enum PageClass;

// Those that count operations and their outcomes, not what they met.
bool SameOperations(const PoolCounters& a, const PoolCounters& b) {
  return a.puts == b.puts && a.puts_stored == b.puts_stored &&
         a.puts_no_memory == b.puts_no_memory && a.puts_frozen == b.puts_frozen &&
         a.gets == b.gets && a.gets_found == b.gets_found && a.flushes == b.flushes &&
         a.object_flushes == b.object_flushes && a.corrupt == b.corrupt;
}

uint64_t SegmentsFor(Bytes bytes) { return (bytes.value + kSegmentSize - 1) / kSegmentSize; }

}  // namespace

bool StoreModel::IsClosing(const ModelGuest& guest) {
  return std::ranges::any_of(guest.pools,
                             [](const auto& entry) { return entry && entry->closing; });
}

bool StoreModel::IsSharing(const ModelGuest& guest) {
  return std::ranges::any_of(guest.pools, [](const auto& entry) { return entry && entry->shared; });
}

// Of pools that live.
Bytes StoreModel::PersistentCharge(const ModelGuest& guest) {
  Bytes sum;
  for (const auto& entry : guest.pools) {
    if (entry && !entry->closing && entry->pool->page_class == kPersistent) {
      sum += Bytes(entry->pool->charge);
    }
  }
  return sum;
}

Bytes StoreModel::ObjectCharge(const ModelPool& pool, uint64_t object) const {
  Bytes sum;
  for (uint64_t i = 0; i < kIndexes; ++i) {
    const ModelPage& page = pool.pages[object * kIndexes + i];
    if (page.length != 0) sum += RecordCharge(page.length);
  }
  return sum;
}

Bytes StoreModel::ExpectedCharge(const ModelGuest& guest) const {
  Bytes sum;
  for (const auto& entry : guest.pools) {
    if (entry && !entry->shared) sum += Bytes(entry->pool->charge);
  }
  for (const auto& pool : shared_) {
    for (uint64_t object = 0; object < kObjects; ++object) {
      if (pool->payer[object] == guest.life) sum += ObjectCharge(*pool, object);
    }
  }
  return sum;
}

// ---- outcomes ----

// Where nothing but the cap counts, and all that is charged is known, a put's outcome is certain.
void StoreModel::CheckAdmission(const Target& target, Bytes would_hold, PutStatus status) const {
  const ModelGuest& guest = target.guest;
  if (config_.scarcity == Scarcity::kCapacity || guest.settings.frozen) return;
  if (IsSharing(guest) || IsClosing(guest)) return;
  const bool fits = would_hold <= guest.settings.cap;
  Demand(fits == (status == PutStatus::kStored), "a put's outcome, by its guest's cap");
}

// Looks at the store after the refusal, which is how it was at the decision.
bool StoreModel::IsRefusalDue(const Target& target, Bytes amount) const {
  const ModelGuest& guest = target.guest;
  const GuestStats stats = *store_->StatsOf(guest.handle->id());
  // What the guest's own ephemeral pages cannot make room for.
  Bytes fixed = stats.charged;
  for (const PoolStats& pool : stats.pools) {
    if (!pool.shared && pool.page_class == kEphemeral) fixed -= Bytes(pool.stored.charged_bytes);
  }
  if (fixed + amount > guest.settings.cap) return true;
  // Nor do they make room for what others put into an object that the guest would have to take
  // over.
  if (target.entry->shared &&
      stats.charged + amount + ObjectCharge(*target.entry->pool, target.object) >
          guest.settings.cap) {
    return true;
  }
  return config_.scarcity == Scarcity::kCapacity &&
         IsMemoryShortFor(guest, *target.entry->pool, target.entry->shared != nullptr);
}

bool StoreModel::IsMemoryShortFor(const ModelGuest& guest, const ModelPool& pool,
                                  bool shared) const {
  const GuestShare share = *store_->ShareOf(guest.handle->id());
  const bool fixed_parts = share.policy == PolicyKind::kStatic;
  const bool no_more = share.persistent_held >= share.entitled;
  const StoreStats stats = store_->Stats();
  const uint64_t capacity = stats.capacity.value / kSegmentSize;
  const bool full = stats.segments[0] + stats.segments[1] >= stats.capacity;
  if (pool.page_class == kEphemeral) {
    // A shared pool's fixed part may be nothing at all.
    return (fixed_parts && (shared || no_more)) || (full && stats.segments[0] == Bytes(0));
  }

  uint64_t held = 0;
  uint64_t promised = 0;
  bool within_reserve = false;
  for (const GuestId id : store_->Guests()) {
    const GuestStats one = *store_->StatsOf(id);
    const uint64_t persistent = one.segments[1].value / kSegmentSize;
    const uint64_t reserve = SegmentsFor(one.settings.reserve);
    held += persistent;
    promised += std::max(persistent, reserve);
    if (id == guest.handle->id()) within_reserve = persistent < reserve;
  }
  return held >= capacity || (!within_reserve && (no_more || promised >= capacity));
}

void StoreModel::CheckShare(const ModelGuest& guest, const GuestStats& stats) const {
  const GuestShare share = *store_->ShareOf(guest.handle->id());
  Demand(share.weight == guest.settings.weight, "the weight of a share");
  Demand(share.reserve == Segments(SegmentsFor(guest.settings.reserve)), "the reserve of a share");
  Demand(share.entitled <= share.reserve + share.for_surrendered + share.of_unclaimed,
         "entitled to more than the terms give");
  Demand(share.persistent_held == stats.segments[1], "persistent segments of a share");
  Demand(share.ephemeral_held == stats.segments[0], "ephemeral segments of a share");
}

// A charge above the cap comes from a lowered cap alone: it does not grow.
void StoreModel::CheckCharge(ModelGuest& guest) const {
  const Bytes charged = guest.handle->ledger().charged();
  Demand(charged <= guest.settings.cap || charged <= guest.last_charged, "charged above the cap");
  guest.last_charged = charged;
}

// ---- figures ----

void StoreModel::CheckAll() {
  StoredCounters stored[kPageClasses];
  Bytes segments[kPageClasses];
  uint32_t present = 0;
  for (ModelGuest& guest : guests_) {
    if (!guest.present) continue;
    ++present;
    CheckGuest(guest);
    const GuestStats stats = *store_->StatsOf(guest.handle->id());
    for (int i = 0; i < kPageClasses; ++i) {
      stored[i] += stats.stored[i];
      segments[i] += stats.segments[i];
    }
  }
  const StoreStats stats = store_->Stats();
  Demand(stats.guests == present, "the number of guests");
  Demand(stats.shared_pools == std::ranges::count(shared_, false, &SharedPool::draining),
         "the number of shared pools");
  Demand(SameOperations(stats.counters, totals_), "the sum of all counters");
  Demand(stats.stored[0].pages >= stored[0].pages, "ephemeral pages of all guests");
  Demand(stats.stored[1].pages == stored[1].pages, "persistent pages of all guests");
  Demand(stats.stored[1].charged_bytes == stored[1].charged_bytes, "persistent bytes");
  Demand(stats.segments[0] >= segments[0], "ephemeral segments of all guests");
  Demand(stats.segments[1] == segments[1], "persistent segments of all guests");

  const Bytes in_use = stats.segments[0] + stats.segments[1];
  Demand(in_use <= stats.capacity || in_use <= last_in_use_, "segments above the capacity");
  last_in_use_ = in_use;
}

void StoreModel::CheckGuest(ModelGuest& guest) const {
  CheckCharge(guest);
  const GuestStats stats = *store_->StatsOf(guest.handle->id());
  Demand(stats.settings == guest.settings, "a guest's settings");
  Demand(stats.charged == guest.handle->ledger().charged(), "a guest's charge");
  if (config_.scarcity == Scarcity::kNone && !IsClosing(guest)) {
    Demand(stats.charged == ExpectedCharge(guest), "a guest's charge is the sum of its pages'");
  }
  CheckShare(guest, stats);
  uint64_t held = 0;
  for (int i = 0; i < kPageClasses; ++i) {
    held += stats.stored[i].charged_bytes;
    // Headers and payloads lie inside the segments.
    Demand(stats.stored[i].charged_bytes <= stats.segments[i].value,
           "charged, yet not in segments");
  }
  Demand(held <= stats.charged.value, "stored, yet not charged");

  auto next = stats.pools.begin();
  for (uint32_t i = 0; i < kMaxPoolsPerGuest; ++i) {
    const auto& entry = guest.pools[i];
    if (!entry || entry->closing) continue;
    Demand(next != stats.pools.end() && next->id == PoolId{i}, "a guest's pools");
    Demand(next->page_class == entry->pool->page_class, "a pool's class");
    Demand(next->shared == (entry->shared != nullptr), "a pool's sharing");
    if (entry->shared) {
      Demand(next->uuid == UuidOf(entry->shared->uuid), "a shared pool's uuid");
      Demand(next->sharers == entry->shared->members.size(), "a shared pool's members");
    }
    CheckPool(*next++, *entry->pool);
  }
  Demand(next == stats.pools.end(), "pools that should not be there");
}

// Pages vanish only by being counted as evicted: each that the model knew and the store has no
// longer showed as a miss, as a put or flush that met nothing, or is missing from the count.
void StoreModel::CheckPool(const PoolStats& stats, const ModelPool& pool) const {
  const PoolCounters& real = stats.counters;
  const PoolCounters& known = pool.counters;
  Demand(SameOperations(real, known), "a pool's counters");
  Demand(real.object_flushes_found == known.object_flushes_found, "object flushes that found");
  Demand(stats.stored.pages <= pool.count && real.dup_puts_replaced <= known.dup_puts_replaced &&
             real.dup_puts_flushed <= known.dup_puts_flushed &&
             real.flushes_found <= known.flushes_found,
         "more pages than were put");
  const uint64_t unseen =
      (pool.count - stats.stored.pages) + (known.dup_puts_replaced - real.dup_puts_replaced) +
      (known.dup_puts_flushed - real.dup_puts_flushed) + (known.flushes_found - real.flushes_found);
  if (!MayLose(pool)) Demand(unseen == 0, "pages vanished");
  Demand(real.evicted == pool.losses + unseen, "pages vanished, yet not evicted");
  if (unseen == 0) CheckStored(stats.stored, pool);
}

// Exact, where no page vanished unseen.
void StoreModel::CheckStored(const StoredCounters& stored, const ModelPool& pool) const {
  StoredCounters expected;
  expected.pages = pool.count;
  for (uint64_t object = 0; object < kObjects; ++object) {
    const Bytes charge = ObjectCharge(pool, object);
    expected.objects += charge != Bytes(0);
    expected.charged_bytes += charge.value;
  }
  for (const ModelPage& page : pool.pages) {
    expected.payload_bytes += page.length;
    expected.same_filled += page.length == sizeof(uint64_t);
    expected.compressed += page.length > sizeof(uint64_t) && page.length < kPageSize;
  }
  Demand(stored.pages == expected.pages, "stored pages");
  Demand(stored.objects == expected.objects, "stored objects");
  Demand(stored.same_filled == expected.same_filled, "same-filled pages");
  Demand(stored.compressed == expected.compressed, "compressed pages");
  Demand(stored.payload_bytes == expected.payload_bytes, "bytes of payloads");
  Demand(stored.charged_bytes == expected.charged_bytes, "bytes charged");
}

}  // namespace tmem
