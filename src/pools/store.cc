#include "pools/store.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/mutex.h"
#include "pools/arena.h"
#include "pools/guest.h"
#include "pools/guest_records.h"
#include "pools/keyspace.h"
#include "pools/memory.h"
#include "pools/object_records.h"
#include "pools/recompressor.h"
#include "pools/recovery.h"
#include "pools/scrubber.h"
#include "pools/shared_pools.h"
#include "pools/store_files.h"

namespace tmem {

namespace {

constexpr PageCount kNoBudget{UINT64_MAX};
constexpr Uuid kPrivateUuid{{UINT64_MAX, UINT64_MAX}};
constexpr uint32_t kSharedPoolNumber = 0;  // the only pool of its keyspace
// What a Location can name, less the one that an arena has to spare.
constexpr uint64_t kMaxSegments = Location::kMaxSegments - 1;

// Whole segments that fit into `bytes`.
uint32_t SegmentsIn(Bytes bytes) {
  return static_cast<uint32_t>(std::min(bytes.value / kSegmentSize, kMaxSegments));
}

// Whole segments that it takes to hold `bytes`.
uint32_t SegmentsFor(Bytes bytes) {
  return SegmentsIn(bytes) + (bytes.value % kSegmentSize != 0 ? 1 : 0);
}

Bytes BytesOf(uint64_t segments) { return Bytes(segments * kSegmentSize); }

// A cap counts bytes as stored and is exact (Ledger). In segments it only bounds how thinly these
// may be spread: one partly used segment for each size of slot.
uint32_t CapInSegments(Bytes cap) {
  return cap == kUnlimited ? kNoLimit : SegmentsFor(cap) + static_cast<uint32_t>(SizeClassCount());
}

Terms TermsOf(const GuestSettings& settings) {
  return {.weight = settings.weight,
          .reserve = SegmentsFor(settings.reserve),
          .cap = CapInSegments(settings.cap),
          .surrendered = SegmentsIn(settings.surrendered)};
}

int IndexOf(PageClass page_class) { return static_cast<int>(page_class); }

}  // namespace

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

    explicit operator bool() const { return keyspace != nullptr; }
    PageRef Ref(const ObjectId& object, PageIndex index) const {
      return {.ticket = pool.ticket, .pool = number, .object = object, .index = index};
    }
  };
  Ground GroundOf(Guest& guest, PoolId pool);
  CompressMode ModeOfPut(Guest& guest, const Ground& ground, PageCodec& codec);
  std::expected<Keyspace::Incoming, Refusal> Accommodate(Guest& guest, const Ground& ground,
                                                         const PageRef& ref, const Payload& payload,
                                                         Keyspace::OldPage& old_page,
                                                         Bytes& amount);
  Charge TakeCharge(Guest& guest, const Ground& ground, const PageRef& ref, Bytes amount,
                    Keyspace::OldPage& old_page);
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

Store::Impl::Impl(StoreFiles files, std::unique_ptr<Arena> arena, uint32_t capacity,
                  const Config& config)
    : folder_(std::move(files.folder)),
      id_(files.id),
      shared_auth_default_(config.shared_auth_default),
      arena_(std::move(arena)),
      object_records_(std::move(files.objects)),
      dictionary_files_(std::move(files.dictionaries)),
      guest_records_(std::move(files.guests)),
      memory_(*arena_, capacity, config.policy),
      shared_pools_(memory_, node_blocks_, object_records_, dictionary_files_) {
  recovery_.emplace(folder_ ? FindSurvivors() : std::vector<Recovery::Job>(),
                    config.recovery_threads);
}

Store::Impl::~Impl() {
  if (!folder_) {
    for (const GuestId id : Guests()) RemoveGuest(id);
    return;
  }
  recovery_.reset();
  MutexLock lock(mutex_);
  for (const auto& [id, guest] : guests_) {
    guest->Leave();
    guest->keyspace().Abandon();
  }
  shared_pools_.Abandon();
}

// ---- from one process to the next ----

// Sorts what the records say by guest, and frees what belongs to nobody who stays: guests that were
// being removed, and shared pools, whose pages are not kept.
std::vector<Recovery::Job> Store::Impl::FindSurvivors() {
  auto blocks = object_records_.InUse();
  std::map<KeyspaceId, std::vector<Arena::Survivor>> segments;
  for (const Arena::Survivor& segment : arena_->Survivors()) {
    segments[segment.owner.keyspace].push_back(segment);
  }
  std::vector<Recovery::Job> jobs;
  std::vector<GuestRecords::Seat> leaving;
  std::set<KeyspaceId> staying;
  for (GuestRecords::Seat& seat : guest_records_.Survivors()) {
    const KeyspaceId keyspace = seat.keyspace();
    if (seat.record().use.load(std::memory_order_relaxed) != GuestRecord::kStays) {
      leaving.push_back(std::move(seat));
      continue;
    }
    staying.insert(keyspace);
    jobs.push_back(TakeUpRecord(std::move(seat), std::exchange(blocks[keyspace], {}),
                                std::exchange(segments[keyspace], {})));
  }
  dictionary_files_.RemoveAllBut(staying);
  for (const auto& [keyspace, orphans] : segments) {
    for (const Arena::Survivor& orphan : orphans) {
      arena_->Disclaim(orphan.segment);
      arena_->GiveBack(orphan.segment);
    }
  }
  for (const auto& [keyspace, orphans] : blocks) {
    for (ObjectBlock* const orphan : orphans) object_records_.GiveBack(orphan);
  }
  return jobs;
}

Recovery::Job Store::Impl::TakeUpRecord(GuestRecords::Seat seat, std::vector<ObjectBlock*> blocks,
                                        std::vector<Arena::Survivor> segments) {
  const GuestSettings settings;  // until it is added
  const Keyspace::Identity identity{seat.keyspace(), seat.record().hash_key};
  auto keyspace = Keyspace::Create(memory_, node_blocks_, object_records_, dictionary_files_,
                                   identity, TermsOf(settings));
  for (const Arena::Survivor& segment : segments) {
    memory_.Adopt(keyspace->stake(), segment.owner.page_class);
  }
  auto guest = std::make_shared<Guest>(settings, std::move(seat), std::move(keyspace));
  for (uint32_t pool = 0; pool < kMaxPoolsPerGuest; ++pool) {
    const auto membership = guest->MembershipOf(PoolId{pool});
    if (membership) shared_pools_.Resume(membership->place, membership->uuid, guest->ledger());
  }
  MutexLock lock(mutex_);
  guests_.emplace(guest->id(), guest);
  survivors_.insert(guest->id());
  return {.guest = guest, .blocks = std::move(blocks), .segments = std::move(segments)};
}

// Frees what a survivor left without looking at its pages.
void Store::Impl::Drop(const Recovery::Job& job) {
  for (const Arena::Survivor& segment : job.segments) {
    arena_->Disclaim(segment.segment);
    memory_.GiveBack(job.guest->keyspace().stake(), segment.owner.page_class, segment.segment);
  }
  for (ObjectBlock* const block : job.blocks) object_records_.GiveBack(block);
}

std::vector<GuestIdentity> Store::Impl::Survivors() const {
  MutexLock lock(mutex_);
  std::vector<GuestIdentity> survivors;
  for (const GuestId id : survivors_) {
    const Guest& guest = *guests_.at(id);
    survivors.push_back({.id = id, .uuid = guest.uuid(), .name = guest.name()});
  }
  return survivors;
}

Result<std::shared_ptr<Guest>> Store::Impl::TakeUp(GuestId id, const GuestSettings& settings) {
  if (!recovery_->IsReady(id)) {
    return Fail(ErrorCode::kUnavailable,
                fmt::format("the pages of guest {} are still being found again", id.value));
  }
  TMEM_TRY(Configure(id, settings));
  MutexLock lock(mutex_);
  survivors_.erase(id);
  return guests_.at(id);
}

// ---- guests ----

Result<std::shared_ptr<Guest>> Store::Impl::AddGuest(const GuestIdentity& identity,
                                                     const GuestSettings& settings) {
  TMEM_TRY(settings.Validate());
  bool survived = false;
  bool is_it = false;
  {
    MutexLock lock(mutex_);
    survived = survivors_.contains(identity.id);
    is_it = survived && guests_.at(identity.id)->uuid() == identity.uuid;
  }
  if (is_it) return TakeUp(identity.id, settings);
  if (survived) RemoveGuest(identity.id);  // its id is another's now
  return AddNewGuest(identity, settings);
}

Result<std::shared_ptr<Guest>> Store::Impl::AddNewGuest(const GuestIdentity& identity,
                                                        const GuestSettings& settings) {
  {
    MutexLock lock(mutex_);
    if (guests_.contains(identity.id)) {
      return Fail(ErrorCode::kExists,
                  fmt::format("guest {} is in the store already", identity.id.value));
    }
  }
  auto seat = guest_records_.Take(identity.id, identity.uuid, identity.name);
  if (!seat) return Fail(ErrorCode::kExhausted, "the store has no memory for one guest more");
  auto keyspace = Keyspace::Create(memory_, node_blocks_, object_records_, dictionary_files_,
                                   {seat->keyspace(), seat->record().hash_key}, TermsOf(settings));
  auto guest = std::make_shared<Guest>(settings, *std::move(seat), std::move(keyspace));
  MutexLock lock(mutex_);
  if (!guests_.emplace(identity.id, guest).second) {
    return Fail(ErrorCode::kExists,
                fmt::format("guest {} is in the store already", identity.id.value));
  }
  return guest;
}

void Store::Impl::RemoveGuest(GuestId id) {
  std::shared_ptr<Guest> guest;
  {
    MutexLock lock(mutex_);
    const auto at = guests_.find(id);
    if (at == guests_.end()) return;
    guest = std::move(at->second);
    guests_.erase(at);
    survivors_.erase(id);
  }
  guest->CloseForGood();
  if (const auto job = recovery_->Withdraw(id)) Drop(*job);
  // Others' handles may keep the guest for a while, but not its share.
  memory_.Change(guest->keyspace().stake(), {.weight = 0});
  memory_.SetSurrendered(guest->keyspace().stake(), 0);
  for (uint32_t pool = 0; pool < kMaxPoolsPerGuest; ++pool) {
    DestroyPool(*guest, PoolId{pool}, kNoBudget, /*at=*/std::nullopt);
  }
  MutexLock lock(mutex_);
  retired_ += guest->retired();
}

Result<void> Store::Impl::Configure(GuestId id, const GuestSettings& settings) {
  TMEM_TRY(settings.Validate());
  auto guest = Find(id);
  if (!guest) return std::unexpected(std::move(guest).error());
  (*guest)->SetSettings(settings);
  Keyspace& keyspace = (*guest)->keyspace();
  memory_.Change(keyspace.stake(), TermsOf(settings));
  shared_pools_.SetWeight((*guest)->ledger(), settings.weight);
  while ((*guest)->ledger().charged() > settings.cap && keyspace.EvictOldestSegment()) {
    memory_.NoteEviction(keyspace.stake(), Eviction::kCap);
  }
  shared_pools_.Shrink((*guest)->ledger());
  return {};
}

Result<std::shared_ptr<Guest>> Store::Impl::Find(GuestId id) const {
  MutexLock lock(mutex_);
  const auto at = guests_.find(id);
  if (at == guests_.end()) {
    return Fail(ErrorCode::kNotFound, fmt::format("there is no guest {} in the store", id.value));
  }
  return at->second;
}

std::vector<GuestId> Store::Impl::Guests() const {
  MutexLock lock(mutex_);
  std::vector<GuestId> ids;
  for (const auto& [id, guest] : guests_) ids.push_back(id);
  return ids;
}

Bytes Store::Impl::FlushEphemeral(Guest& guest) {
  const Bytes before = guest.ledger().charged();
  while (guest.keyspace().EvictOldestSegment()) {
  }
  const Bytes after = guest.ledger().charged();
  return before > after ? before - after : Bytes(0);
}

Bytes Store::Impl::SetCapacity(Bytes capacity) {
  const uint32_t segments = std::clamp(SegmentsIn(capacity), 1u, arena_->max_segments());
  return BytesOf(memory_.SetCapacity(segments));
}

void Store::Impl::Tick(TimePoint now) {
  if (last_tick_ && now > *last_tick_) memory_.Tick(now - *last_tick_);
  last_tick_ = now;
}

std::vector<CorruptPage> Store::Impl::Scrub(PageCount budget) {
  return scrubber_.Run(budget, [this](GuestId id) { return FirstReadyFrom(id); });
}

TimePoint Store::Impl::Recompress(TimePoint now, PageCodec& codec) {
  told_of_backlog_.store(false, std::memory_order_relaxed);
  return recompressor_.Run(now, [this](GuestId id) { return FirstReadyFrom(id); }, codec);
}

void Store::Impl::TellOfBacklog() {
  if (told_of_backlog_.load(std::memory_order_relaxed)) return;
  if (!told_of_backlog_.exchange(true, std::memory_order_relaxed)) on_backlog_();
}

std::shared_ptr<Guest> Store::Impl::FirstReadyFrom(GuestId id) const {
  MutexLock lock(mutex_);
  auto at = guests_.lower_bound(id);
  while (at != guests_.end() && !recovery_->IsReady(at->first)) ++at;
  return at != guests_.end() ? at->second : nullptr;
}

// ---- pools ----

bool Store::Impl::MayJoin(const Guest& guest, const Uuid& uuid) const {
  return shared_auth_default_ || guest.settings().shared_auth.contains(uuid);
}

std::expected<PoolId, NewPoolError> Store::Impl::NewPool(Guest& guest, const PoolOptions& options,
                                                         std::optional<RingPosition> at) {
  if (at) {
    if (const auto opened = guest.OpenedAt(*at)) return *opened;
  }
  if (options.shared && options.page_class == PageClass::kPersistent) {
    return std::unexpected(NewPoolError::kDenied);
  }
  std::optional<Guest::Membership> membership;
  if (options.shared && options.uuid != kPrivateUuid && MayJoin(guest, options.uuid)) {
    const auto place = shared_pools_.Join(options.uuid, guest.ledger(), guest.settings().weight);
    if (!place) return std::unexpected(NewPoolError::kNoSpace);
    membership = {*place, options.uuid};
  }
  const auto id = guest.Open(options.page_class, membership, at);
  if (id) return *id;
  if (membership) {
    MutexLock ending(guest.ending());
    shared_pools_.Leave(membership->place, guest.ledger());
    shared_pools_.Drain(membership->place, guest.ledger(), kNoBudget);
  }
  return std::unexpected(NewPoolError::kNoSpace);
}

FlushStatus Store::Impl::DestroyPool(Guest& guest, PoolId pool, PageCount budget,
                                     std::optional<RingPosition> at) {
  MutexLock ending(guest.ending());
  const bool closed_before = at && guest.ClosedAt(*at, pool);
  const bool closed_now = !closed_before && guest.Close(pool, at);
  const auto found = guest.FindClosed(pool);
  if (!found) return closed_before ? FlushStatus::kDone : FlushStatus::kNoPool;
  const Ground ground = GroundOf(guest, pool, found);
  if (found->shared) {
    if (closed_now) shared_pools_.Leave(*found->shared, guest.ledger());
    if (!shared_pools_.Drain(*found->shared, guest.ledger(), budget)) return FlushStatus::kMore;
    guest.Release(pool, PoolCounters{});
    return FlushStatus::kDone;
  }
  if (!ground.keyspace->Drain(ground.number, found->page_class, budget)) return FlushStatus::kMore;
  guest.Release(pool, ground.keyspace->TakeCounters(ground.number));
  return FlushStatus::kDone;
}

Store::Impl::Ground Store::Impl::GroundOf(Guest& guest, PoolId pool,
                                          const std::optional<Guest::Pool>& found) {
  if (!found) return {};
  if (found->shared) {
    return {*found, &shared_pools_.KeyspaceOf(*found->shared), kSharedPoolNumber};
  }
  return {*found, &guest.keyspace(), pool.value};
}

Store::Impl::Ground Store::Impl::GroundOf(Guest& guest, PoolId pool) {
  return GroundOf(guest, pool, guest.Find(pool));
}

// ---- admission of one page ----

// kAuto if the page is to be taken as it comes and compressed later, for which there has to be
// room: in the backlog, and beside what is stored. Where that is short, pages that wait make some.
// Nobody compresses a shared pool's pages later.
CompressMode Store::Impl::ModeOfPut(Guest& guest, const Ground& ground, PageCodec& codec) {
  constexpr int kCompressedAtOnce = 16;
  const CompressMode mode = guest.compress(ground.pool.page_class);
  if (mode != CompressMode::kAuto) return mode;
  const auto has_room = [&] {
    return !memory_.crowded() &&
           guest.ledger().charged() + RecordCharge(kPageSize) <= guest.ledger().cap();
  };
  for (int i = 0; i < kCompressedAtOnce && !has_room(); ++i) {
    if (!guest.keyspace().CompressNext(codec)) break;
  }
  const bool later = has_room() && !ground.pool.shared && !ground.keyspace->backlog().full();
  return later ? CompressMode::kAuto : CompressMode::kFast;
}

// What the payload needs to be stored: a charge, of `amount`, and a slot. The page that is being
// replaced may have to make room for it.
std::expected<Keyspace::Incoming, Refusal> Store::Impl::Accommodate(
    Guest& guest, const Ground& ground, const PageRef& ref, const Payload& payload,
    Keyspace::OldPage& old_page, Bytes& amount) {
  Keyspace& keyspace = *ground.keyspace;
  const PageClass page_class = ground.pool.page_class;
  const size_t length = payload.bytes.size();
  amount = RecordCharge(length);
  Charge charge = TakeCharge(guest, ground, ref, amount, old_page);
  if (!charge) return std::unexpected(Refusal::kCap);
  auto slot = keyspace.heap(page_class).Allocate(length);
  if (!slot && keyspace.MakeRoomByReplacing(ref, page_class)) {
    old_page = Keyspace::OldPage::kDropped;
    slot = keyspace.heap(page_class).Allocate(length);
  }
  if (!slot) return std::unexpected(memory_.WhyRefused(keyspace.stake(), page_class));
  return Keyspace::Incoming{payload, *std::move(slot), std::move(charge)};
}

// Against the cap: the page that is being replaced makes room first (stored or refused, it goes
// anyway), then the guest's own ephemeral pages do.
Charge Store::Impl::TakeCharge(Guest& guest, const Ground& ground, const PageRef& ref, Bytes amount,
                               Keyspace::OldPage& old_page) {
  Charge charge = Charge::Take(guest.ledger(), amount);
  if (!charge && ground.keyspace->MakeRoomByReplacing(ref, ground.pool.page_class)) {
    old_page = Keyspace::OldPage::kDropped;
    charge = Charge::Take(guest.ledger(), amount);
  }
  while (!charge && amount <= guest.ledger().cap() && guest.keyspace().EvictOldestSegment()) {
    memory_.NoteEviction(guest.keyspace().stake(), Eviction::kCap);
    charge = Charge::Take(guest.ledger(), amount);
  }
  return charge;
}

// ---- figures ----

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
    stats.counters += keyspace.CountersOf(kSharedPoolNumber);
    stats.stored[IndexOf(PageClass::kEphemeral)] += keyspace.StoredIn(kSharedPoolNumber);
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

// ---- the face ----

Result<std::unique_ptr<Store>> Store::Create(const Config& config) {
  TMEM_TRY(config.policy.Validate());
  const uint32_t capacity = SegmentsIn(config.capacity);
  if (capacity == 0) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("capacity {} is less than one segment of {}",
                            FormatBytes(config.capacity), FormatBytes(BytesOf(1))));
  }
  const Bytes max_capacity =
      config.max_capacity == kUnlimited ? config.capacity * 4 : config.max_capacity;
  if (max_capacity < config.capacity) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("maximum capacity {} is below capacity {}", FormatBytes(max_capacity),
                            FormatBytes(config.capacity)));
  }
  auto files = StoreFiles::Open(config.path, SegmentsIn(max_capacity));
  if (!files) return std::unexpected(std::move(files).error());
  auto arena = Arena::Create(files->max_segments, std::move(files->segments),
                             std::move(files->segment_records));
  if (!arena) return std::unexpected(std::move(arena).error());
  return std::unique_ptr<Store>(
      new Store(std::make_unique<Impl>(*std::move(files), std::move(*arena), capacity, config)));
}

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() = default;

const Uuid& Store::id() const { return impl_->id(); }

Result<std::shared_ptr<Guest>> Store::AddGuest(const GuestIdentity& identity,
                                               const GuestSettings& settings) {
  return impl_->AddGuest(identity, settings);
}

std::vector<GuestIdentity> Store::Survivors() const { return impl_->Survivors(); }

RecoveryProgress Store::recovery_progress() const { return impl_->recovery_progress(); }

void Store::RemoveGuest(GuestId id) { impl_->RemoveGuest(id); }

Result<void> Store::Configure(GuestId id, const GuestSettings& settings) {
  return impl_->Configure(id, settings);
}

Result<GuestSettings> Store::SettingsOf(GuestId id) const {
  auto guest = impl_->Find(id);
  if (!guest) return std::unexpected(std::move(guest).error());
  return (*guest)->settings();
}

Result<void> Store::SetSurrendered(GuestId id, Bytes surrendered) {
  auto guest = impl_->Find(id);
  if (!guest) return std::unexpected(std::move(guest).error());
  impl_->memory().SetSurrendered((*guest)->keyspace().stake(), SegmentsIn(surrendered));
  return {};
}

std::vector<GuestId> Store::Guests() const { return impl_->Guests(); }

Result<Bytes> Store::FlushEphemeral(GuestId id) {
  auto guest = impl_->Find(id);
  if (!guest) return std::unexpected(std::move(guest).error());
  return impl_->FlushEphemeral(**guest);
}

Bytes Store::SetCapacity(Bytes capacity) { return impl_->SetCapacity(capacity); }

Result<void> Store::SetPolicy(const PolicySettings& settings) {
  TMEM_TRY(settings.Validate());
  impl_->memory().SetPolicy(settings);
  return {};
}

PolicySettings Store::policy() const { return impl_->memory().policy(); }

void Store::Tick(TimePoint now) { impl_->Tick(now); }

std::vector<CorruptPage> Store::Scrub(PageCount budget) { return impl_->Scrub(budget); }

TimePoint Store::Recompress(TimePoint now, PageCodec& codec) {
  return impl_->Recompress(now, codec);
}

void Store::OnBacklog(std::function<void()> listener) { impl_->OnBacklog(std::move(listener)); }

std::expected<PoolId, NewPoolError> Store::NewPool(Guest& guest, const PoolOptions& options,
                                                   std::optional<RingPosition> at) {
  return impl_->NewPool(guest, options, at);
}

FlushStatus Store::DestroyPool(Guest& guest, PoolId pool, PageCount budget,
                               std::optional<RingPosition> at) {
  return impl_->DestroyPool(guest, pool, budget, at);
}

void Store::ForgetRequests(Guest& guest) { guest.ForgetRequests(); }

PutStatus Store::Put(Guest& guest, const Handle& handle, PageView page, PageCodec& codec) {
  const Impl::Ground ground = impl_->GroundOf(guest, handle.pool);
  if (!ground) return PutStatus::kNoPool;
  const PageClass page_class = ground.pool.page_class;
  const PageRef ref = ground.Ref(handle.object, handle.index);
  Keyspace& keyspace = *ground.keyspace;
  auto old_page = Keyspace::OldPage::kUntouched;
  const auto refuse = [&](Refusal why) {
    guest.NoteRefusal(why);
    const auto status = why == Refusal::kFrozen ? PutStatus::kFrozen : PutStatus::kNoMemory;
    return keyspace.Refuse(ref, page_class, status, old_page);
  };
  if (guest.frozen()) return refuse(Refusal::kFrozen);
  if (page_class == PageClass::kPersistent && keyspace.MustShrink()) {
    keyspace.NoteRefused(ref, page_class, std::nullopt);
    const PutStatus status = refuse(Refusal::kEntitlement);
    // What goes leaves slots in all segments: as soon as these make up one, others shall have it.
    keyspace.Compact();
    return status;
  }

  const CompressMode mode = impl_->ModeOfPut(guest, ground, codec);
  Bytes amount;
  auto incoming =
      impl_->Accommodate(guest, ground, ref, codec.Compress(page, mode), old_page, amount);
  if (!incoming && mode == CompressMode::kAuto) {  // what it comes to may find room
    const Payload smaller = codec.Compress(page, CompressMode::kFast);
    incoming = impl_->Accommodate(guest, ground, ref, smaller, old_page, amount);
  } else if (incoming && mode == CompressMode::kAuto) {
    incoming->compress_later = incoming->payload.codec == Codec::kRaw;
  }
  if (!incoming) {
    const Refusal why = incoming.error();
    if (why != Refusal::kCap) keyspace.NoteRefused(ref, page_class, amount);
    const PutStatus status = refuse(why);
    if (page_class == PageClass::kPersistent) keyspace.Compact();
    return status;
  }
  const bool later = incoming->compress_later;
  const PutStatus status = keyspace.Publish(ref, page_class, *std::move(incoming), old_page);
  if (later) impl_->TellOfBacklog();
  // An object of a shared pool that the guest had not the room to take over.
  if (status == PutStatus::kNoMemory) guest.NoteRefusal(Refusal::kCap);
  return status;
}

GetStatus Store::Get(Guest& guest, const Handle& handle, MutablePageView page, PageCodec& codec) {
  const Impl::Ground ground = impl_->GroundOf(guest, handle.pool);
  if (!ground) return GetStatus::kNoPool;
  const bool exclusive =
      ground.pool.page_class == PageClass::kEphemeral && !ground.pool.shared.has_value();
  const PageRef ref = ground.Ref(handle.object, handle.index);
  const GetStatus status = ground.keyspace->Get(
      ref, ground.pool.page_class,
      exclusive ? Keyspace::Removal::kOnHit : Keyspace::Removal::kNever, page, codec);
  const bool missed = status == GetStatus::kMiss || status == GetStatus::kEmpty;
  if (missed && ground.pool.page_class == PageClass::kEphemeral) ground.keyspace->NoteMissed(ref);
  return status;
}

namespace {
// A flush is executed for a frozen guest, and the answer tells that it is frozen.
FlushStatus AnswerTo(const Guest& guest, FlushStatus status) {
  return status == FlushStatus::kDone && guest.frozen() ? FlushStatus::kFrozen : status;
}
}  // namespace

FlushStatus Store::FlushPage(Guest& guest, const Handle& handle) {
  const Impl::Ground ground = impl_->GroundOf(guest, handle.pool);
  if (!ground) return FlushStatus::kNoPool;
  return AnswerTo(guest, ground.keyspace->FlushPage(ground.Ref(handle.object, handle.index),
                                                    ground.pool.page_class));
}

FlushStatus Store::FlushObject(Guest& guest, PoolId pool, const ObjectId& object,
                               PageCount budget) {
  const Impl::Ground ground = impl_->GroundOf(guest, pool);
  if (!ground) return FlushStatus::kNoPool;
  return AnswerTo(guest, ground.keyspace->FlushObject(ground.Ref(object, PageIndex{}),
                                                      ground.pool.page_class, budget));
}

std::optional<PageClass> Store::ClassOf(const Guest& guest, PoolId pool) {
  const auto found = guest.Find(pool);
  return found ? std::optional(found->page_class) : std::nullopt;
}

Result<GuestStats> Store::StatsOf(GuestId id) const {
  auto guest = impl_->Find(id);
  if (!guest) return std::unexpected(std::move(guest).error());
  return impl_->StatsOf(**guest);
}

StoreStats Store::Stats() const { return impl_->Stats(); }

Result<GuestShare> Store::ShareOf(GuestId id) const {
  auto guest = impl_->Find(id);
  if (!guest) return std::unexpected(std::move(guest).error());
  return impl_->ShareOf(**guest);
}

}  // namespace tmem
