#include "pools/store.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "pools/store_impl.h"

namespace tmem {

namespace {

constexpr PageCount kNoBudget{UINT64_MAX};
constexpr Uuid kPrivateUuid{{UINT64_MAX, UINT64_MAX}};

// Whole segments that it takes to hold `bytes`.
uint32_t SegmentsFor(Bytes bytes) {
  return SegmentsIn(bytes) + (bytes.value % kSegmentSize != 0 ? 1 : 0);
}

// A cap counts bytes as stored and is exact (Ledger). In segments it only bounds how thinly these
// may be spread: one partly used segment for each size of slot.
uint32_t CapInSegments(Bytes cap) {
  return cap == kUnlimited ? kNoLimit : SegmentsFor(cap) + static_cast<uint32_t>(SizeClassCount());
}

}  // namespace

Terms TermsOf(const GuestSettings& settings) {
  return {.weight = settings.weight,
          .reserve = SegmentsFor(settings.reserve),
          .cap = CapInSegments(settings.cap),
          .surrendered = SegmentsIn(settings.surrendered)};
}

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
  ids.reserve(guests_.size());
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
    return {*found, &shared_pools_.KeyspaceOf(*found->shared), Ground::kSharedPoolNumber};
  }
  return {*found, &guest.keyspace(), pool.value};
}

Store::Impl::Ground Store::Impl::GroundOf(Guest& guest, PoolId pool) {
  return GroundOf(guest, pool, guest.Find(pool));
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

// Calls `visit(ground, first, refs)` for each run of handles of one pool, the first of which is
// handles[first].
template <class Visit>
void Store::Impl::ForEachPool(Guest& guest, std::span<const Handle> handles, Visit visit) {
  std::array<PageRef, kGroup> refs;
  for (size_t first = 0; first < handles.size();) {
    const Ground ground = GroundOf(guest, handles[first].pool);
    size_t count = 0;
    for (const Handle& handle : handles.subspan(first)) {
      if (handle.pool != handles[first].pool) break;
      refs[count++] = ground.Ref(handle.object, handle.index);
    }
    visit(ground, first, std::span<const PageRef>(refs).first(count));
    first += count;
  }
}

void Store::Prefetch(Guest& guest, std::span<const Handle> handles, Ahead ahead) {
  handles = handles.first(std::min(handles.size(), kGroup));
  impl_->ForEachPool(guest, handles, [ahead](const Impl::Ground& ground, size_t, auto refs) {
    if (ground) ground.keyspace->Prefetch(refs, ground.pool.page_class, ahead);
  });
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

void Store::FlushPages(Guest& guest, std::span<const Handle> handles,
                       std::span<FlushStatus> statuses) {
  impl_->ForEachPool(guest, handles, [&](const Impl::Ground& ground, size_t first, auto refs) {
    const auto those = statuses.subspan(first, refs.size());
    if (!ground) {
      std::ranges::fill(those, FlushStatus::kNoPool);
      return;
    }
    ground.keyspace->FlushPages(refs, ground.pool.page_class, those);
    for (FlushStatus& status : those) status = AnswerTo(guest, status);
  });
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