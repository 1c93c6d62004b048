#include "pools/store_model.h"

#include <algorithm>
#include <sstream>
#include <stdexcept>

#include "pools/store_fixture.h"

namespace tmem {

namespace {

using enum PageClass;
using Kind = ModelOp::Kind;

constexpr uint64_t kUuids = 3;
constexpr Uuid kAllOnes{{UINT64_MAX, UINT64_MAX}};

Store::Config StoreConfigFor(Scarcity scarcity) {
  if (scarcity == Scarcity::kCapacity) return {.capacity = Segments(12), .max_capacity = MiB(24)};
  return {.capacity = GiB(4)};  // address space, never used up
}

// Neighbours, and indexes far from each other.
uint32_t IndexOf(uint64_t index) {
  if (index < 40) return static_cast<uint32_t>(index);
  if (index < 62) return uint32_t{1} << (index - 40 + 10);
  return index == 62 ? 0xffff'f000 : UINT32_MAX;
}

PageCount BudgetOf(uint32_t argument) {
  constexpr uint64_t kBudgets[] = {1, 2, 7, 63, 64, 65, 1000, UINT64_MAX};
  return PageCount(kBudgets[argument % std::size(kBudgets)]);
}

}  // namespace

std::ostream& operator<<(std::ostream& out, Scarcity scarcity) {
  constexpr const char* kNames[] = {"none", "caps", "capacity"};
  return out << kNames[static_cast<int>(scarcity)];
}

ModelOp ModelOp::From(uint64_t word) {
  struct Weight {
    Kind kind;
    uint32_t weight;
  };
  constexpr Weight kWeights[] = {
      {Kind::kPut, 470},          {Kind::kGet, 260},        {Kind::kFlushPage, 130},
      {Kind::kFlushObject, 25},   {Kind::kPutTogether, 25}, {Kind::kFlushTogether, 8},
      {Kind::kPrefetch, 25},      {Kind::kNewPool, 8},      {Kind::kDestroyPool, 15},
      {Kind::kConfigure, 10},     {Kind::kSetCapacity, 4},  {Kind::kSetPolicy, 2},
      {Kind::kSetSurrendered, 4}, {Kind::kTick, 8},         {Kind::kFlushEphemeral, 2},
      {Kind::kAddGuest, 6},       {Kind::kRemoveGuest, 1},  {Kind::kCheckAll, 5},
  };
  uint32_t all = 0;
  for (const Weight& one : kWeights) all += one.weight;

  const uint64_t first = Mix(word);
  const uint64_t second = Mix(first);
  auto pick = static_cast<uint32_t>(first % all);
  Kind kind = Kind::kCheckAll;
  for (const Weight& one : kWeights) {
    kind = one.kind;
    if (pick < one.weight) break;
    pick -= one.weight;
  }
  return {.kind = kind,
          .guest = static_cast<uint8_t>(second & 0xff),
          .pool = static_cast<uint8_t>(second >> 8 & 0xff),
          .object = static_cast<uint8_t>(second >> 16 & 0xff),
          .index = static_cast<uint8_t>(second >> 24 & 0xff),
          .look = static_cast<PageLook>(first >> 32 & 3),
          .argument = static_cast<uint32_t>(second >> 32)};
}

std::ostream& operator<<(std::ostream& out, const ModelOp& op) {
  constexpr const char* kNames[] = {"put",
                                    "get",
                                    "flush page",
                                    "flush object",
                                    "put together",
                                    "flush together",
                                    "prefetch",
                                    "new pool",
                                    "destroy pool",
                                    "configure",
                                    "set capacity",
                                    "set policy",
                                    "set surrendered",
                                    "tick",
                                    "flush ephemeral",
                                    "add guest",
                                    "remove guest",
                                    "check"};
  return out << kNames[static_cast<int>(op.kind)] << " guest " << int{op.guest} << " pool "
             << int{op.pool} << " object " << int{op.object} << " index " << int{op.index} << " "
             << op.look << " argument " << op.argument;
}

StoreModel::StoreModel(const ModelConfig& config)
    : config_(config), store_(std::move(*Store::Create(StoreConfigFor(config.scarcity)))) {}

void StoreModel::Demand(bool condition, const char* what) const {
  if (condition) return;
  std::ostringstream message;
  message << what << ", at step " << steps_ << " (scarcity: " << config_.scarcity
          << "): " << current_;
  throw std::runtime_error(message.str());
}

void StoreModel::Step(const ModelOp& op) {
  ++steps_;
  current_ = op;
  switch (op.kind) {
    case Kind::kPut:
      return Put(op);
    case Kind::kGet:
      return Get(op);
    case Kind::kFlushPage:
      return FlushPage(op);
    case Kind::kFlushObject:
      return FlushObject(op);
    case Kind::kPutTogether:
      return PutTogether(op);
    case Kind::kFlushTogether:
      return FlushTogether(op);
    case Kind::kPrefetch:
      return Prefetch(op);
    case Kind::kNewPool:
      return NewPool(op);
    case Kind::kDestroyPool:
      return DestroyPool(op);
    case Kind::kConfigure:
      return Configure(op);
    case Kind::kSetCapacity:
      return SetCapacity(op);
    case Kind::kSetPolicy:
      return SetPolicy(op);
    case Kind::kSetSurrendered:
      return SetSurrendered(op);
    case Kind::kTick:
      return Tick();
    case Kind::kFlushEphemeral:
      return FlushEphemeral(op);
    case Kind::kAddGuest:
      return AddGuest(op);
    case Kind::kRemoveGuest:
      return RemoveGuest(op);
    case Kind::kCheckAll:
      return CheckAll();
  }
}

// Most operations go to pools that live, some to any number.
StoreModel::Target StoreModel::TargetOf(const ModelOp& op) {
  ModelGuest& guest = guests_[op.guest % kGuests];
  std::vector<uint32_t> living;
  for (uint32_t i = 0; i < kMaxPoolsPerGuest; ++i) {
    if (guest.pools[i] && !guest.pools[i]->closing) living.push_back(i);
  }
  PoolId pool{op.pool};
  if (!living.empty() && op.pool % 32 != 0) pool = PoolId{living[op.pool % living.size()]};
  Entry* entry = nullptr;
  if (pool.value < kMaxPoolsPerGuest && guest.pools[pool.value]) {
    entry = &*guest.pools[pool.value];
    if (entry->closing) entry = nullptr;
  }
  // Some keys come often, so that puts meet older pages, and gets and flushes find some.
  const uint64_t object = op.object & op.object >> 4 & (kObjects - 1);
  const uint64_t index = op.index < 128 ? op.index % 8 : op.index % kIndexes;
  return {.guest = guest,
          .pool = pool,
          .entry = entry,
          .object = object,
          .key = object * kIndexes + index,
          .handle = {pool, MakeObjectId(object), PageIndex{IndexOf(index)}}};
}

bool StoreModel::MayLose(const ModelPool& pool) const {
  return pool.page_class == kEphemeral && config_.scarcity != Scarcity::kNone;
}

void StoreModel::Erase(ModelPool& pool, uint64_t key) {
  ModelPage& page = pool.pages[key];
  if (page.length == 0) return;
  --pool.count;
  pool.charge -= RecordCharge(page.length).value;
  page.length = 0;
}

void StoreModel::Enter(ModelPool& pool, uint64_t key, const ModelPage& page) {
  Erase(pool, key);
  pool.pages[key] = page;
  ++pool.count;
  pool.charge += RecordCharge(page.length).value;
}

// ---- page operations ----

// Pages of one guest, mostly of one pool, up to a group.
std::vector<StoreModel::Target> StoreModel::GroupOf(const ModelOp& op) {
  std::vector<Target> targets;
  for (uint32_t i = 0; i <= op.argument % Store::kGroup; ++i) {
    ModelOp one = ModelOp::From(Mix(op.argument + i));
    one.guest = op.guest;
    if (i % 4 != 0) one.pool = op.pool;
    targets.push_back(TargetOf(one));
  }
  return targets;
}

StoreModel::ModelPage StoreModel::NewPage(const ModelOp& op) {
  return {.seed = Mix(++serial_), .look = config_.raw_only ? PageLook::kRandom : op.look};
}

void StoreModel::Put(const ModelOp& op) {
  Target t = TargetOf(op);
  if (!t.guest.handle) return;
  const ModelPage page = NewPage(op);
  const Page contents = MakePage(page.look, page.seed);
  const PutStatus status = store_->Put(*t.guest.handle, t.handle, contents, codec_);
  if (status == PutStatus::kNoMemory && t.entry != nullptr) {
    Demand(IsRefusalDue(t, RecordCharge(LengthOf(t, contents))), "put refused without a reason");
  }
  NotePut(t, page, contents, status);
}

// As if the pages were put one after the other. (What makes a refusal due may have changed when the
// others were put; where only the cap counts, NotePut knows better.)
void StoreModel::PutTogether(const ModelOp& op) {
  const std::vector<Target> targets = GroupOf(op);
  if (!targets[0].guest.handle) return;
  std::vector<ModelPage> pages;
  std::vector<Page> contents;
  for (uint32_t i = 0; i < targets.size(); ++i) {
    pages.push_back(NewPage(ModelOp::From(Mix(op.argument + i))));
    contents.push_back(MakePage(pages.back().look, pages.back().seed));
  }
  Store::Puts puts(*store_, *targets[0].guest.handle, codec_);
  for (size_t i = 0; i < targets.size(); ++i) puts.Add(targets[i].handle, contents[i]);
  const auto statuses = puts.Enter();
  Demand(statuses.size() == targets.size(), "a status for each page");
  for (size_t i = 0; i < targets.size(); ++i)
    NotePut(targets[i], pages[i], contents[i], statuses[i]);
}

uint16_t StoreModel::LengthOf(const Target& t, const Page& contents) {
  const auto mode = t.guest.settings.compress[static_cast<int>(t.entry->pool->page_class)];
  return static_cast<uint16_t>(codec_.Compress(contents, mode).bytes.size());
}

void StoreModel::NotePut(const Target& t, ModelPage page, const Page& contents, PutStatus status) {
  if (t.entry == nullptr) return Demand(status == PutStatus::kNoPool, "put into no pool");
  Bytes persistent_before = PersistentCharge(t.guest);
  ModelPool& pool = *t.entry->pool;
  page.length = LengthOf(t, contents);
  const uint64_t old_length = pool.pages[t.key].length;
  ++pool.counters.puts;
  ++totals_.puts;
  if (t.guest.settings.frozen) {
    Demand(status == PutStatus::kFrozen, "put of a frozen guest");
    ++pool.counters.puts_frozen;
    ++totals_.puts_frozen;
  } else if (status == PutStatus::kStored) {
    ++pool.counters.puts_stored;
    ++totals_.puts_stored;
    pool.counters.dup_puts_replaced += old_length != 0;
    Enter(pool, t.key, page);
    if (t.entry->shared) t.entry->shared->payer[t.object] = t.guest.life;
  } else {
    Demand(status == PutStatus::kNoMemory, "unexpected put status");
    ++pool.counters.puts_no_memory;
    ++totals_.puts_no_memory;
  }
  if (status != PutStatus::kStored) {
    pool.counters.dup_puts_flushed += old_length != 0;
    Erase(pool, t.key);
  }
  if (old_length != 0 && pool.page_class == kPersistent) {
    persistent_before -= RecordCharge(old_length);
  }
  CheckAdmission(t, persistent_before + RecordCharge(page.length), status);
  CheckCharge(t.guest);
}

void StoreModel::Get(const ModelOp& op) {
  const Target t = TargetOf(op);
  if (!t.guest.handle) return;
  Page contents;
  const GetStatus status = store_->Get(*t.guest.handle, t.handle, contents, codec_);
  if (t.entry == nullptr) return Demand(status == GetStatus::kNoPool, "get from no pool");

  ModelPool& pool = *t.entry->pool;
  const ModelPage& page = pool.pages[t.key];
  ++pool.counters.gets;
  ++totals_.gets;
  if (status == GetStatus::kHit) {
    ++pool.counters.gets_found;
    ++totals_.gets_found;
    Demand(page.length != 0, "a page that should not be there");
    Demand(contents == MakePage(page.look, page.seed), "not the page that was put");
    if (pool.page_class == kEphemeral && !t.entry->shared) Erase(pool, t.key);
    return;
  }
  Demand(status == GetStatus::kMiss || status == GetStatus::kEmpty, "unexpected get status");
  if (page.length != 0) {
    Demand(MayLose(pool), "a page is gone");
    ++pool.losses;
    Erase(pool, t.key);
  }
  if (status == GetStatus::kMiss) {
    Demand(pool.count > 0, "a pool without pages does not say so");
  } else {
    Demand(MayLose(pool) || pool.count == 0, "a pool with pages says it has none");
  }
}

void StoreModel::FlushPage(const ModelOp& op) {
  const Target t = TargetOf(op);
  if (!t.guest.handle) return;
  NoteFlush(t, store_->FlushPage(*t.guest.handle, t.handle));
}

// As if the pages were flushed one after the other.
void StoreModel::FlushTogether(const ModelOp& op) {
  const std::vector<Target> targets = GroupOf(op);
  if (!targets[0].guest.handle) return;
  std::vector<Handle> handles;
  for (const Target& t : targets) handles.push_back(t.handle);
  std::vector<FlushStatus> statuses(handles.size());
  store_->FlushPages(*targets[0].guest.handle, handles, statuses);
  for (size_t i = 0; i < targets.size(); ++i) NoteFlush(targets[i], statuses[i]);
}

void StoreModel::NoteFlush(const Target& t, FlushStatus status) {
  if (t.entry == nullptr) return Demand(status == FlushStatus::kNoPool, "flush in no pool");
  const bool frozen = t.guest.settings.frozen;
  Demand(status == (frozen ? FlushStatus::kFrozen : FlushStatus::kDone), "flush status");
  ModelPool& pool = *t.entry->pool;
  ++pool.counters.flushes;
  ++totals_.flushes;
  pool.counters.flushes_found += pool.pages[t.key].length != 0;
  Erase(pool, t.key);
}

// Changes nothing: what any other operation finds is what the model expects without it.
void StoreModel::Prefetch(const ModelOp& op) {
  const Target t = TargetOf(op);
  if (!t.guest.handle) return;
  std::vector<Handle> handles(op.argument % (Store::kGroup + 3));
  for (uint32_t i = 0; i < handles.size(); ++i) {
    const uint64_t random = Mix(op.argument + i);
    handles[i] = {random % 8 == 0 ? PoolId{op.pool} : t.pool, MakeObjectId(random / 8 % kObjects),
                  PageIndex{IndexOf(random / 64 % kIndexes)}};
  }
  store_->Prefetch(*t.guest.handle, handles, op.index % 2 == 0 ? Ahead::kGets : Ahead::kPuts);
}

uint64_t StoreModel::StoredIn(const ModelGuest& guest, PoolId id, const Entry& entry) const {
  if (!entry.shared) return guest.handle->keyspace().StoredIn(id.value).pages;
  const GuestStats all = *store_->StatsOf(guest.handle->id());
  for (const PoolStats& stats : all.pools) {
    if (stats.id == id) return stats.stored.pages;
  }
  Demand(false, "statistics lack a pool");
  return 0;
}

void StoreModel::FlushObject(const ModelOp& op) {
  const Target t = TargetOf(op);
  if (!t.guest.handle) return;
  const PageCount budget = BudgetOf(op.argument);
  const auto flush = [&] {
    return store_->FlushObject(*t.guest.handle, t.pool, t.handle.object, budget);
  };
  if (t.entry == nullptr) return Demand(flush() == FlushStatus::kNoPool, "flush in no pool");

  ModelPool& pool = *t.entry->pool;
  uint64_t known = 0;
  for (uint64_t i = 0; i < kIndexes; ++i) known += pool.pages[t.object * kIndexes + i].length != 0;
  const uint64_t before = StoredIn(t.guest, t.pool, *t.entry);
  uint64_t left = before;
  FlushStatus status;
  while ((status = flush()) == FlushStatus::kMore) {
    const uint64_t now = StoredIn(t.guest, t.pool, *t.entry);
    Demand(left - now == budget.value, "a flush did not keep to its budget");
    left = now;
  }
  const bool frozen = t.guest.settings.frozen;
  Demand(status == (frozen ? FlushStatus::kFrozen : FlushStatus::kDone), "flush status");
  const uint64_t after = StoredIn(t.guest, t.pool, *t.entry);
  Demand(left - after <= budget.value, "a flush exceeded its budget");
  const uint64_t flushed = before - after;
  Demand(MayLose(pool) ? flushed <= known : flushed == known, "an object flush's pages");

  ++pool.counters.object_flushes;
  ++totals_.object_flushes;
  pool.counters.object_flushes_found += flushed != 0;
  pool.losses += known - flushed;
  for (uint64_t i = 0; i < kIndexes; ++i) Erase(pool, t.object * kIndexes + i);
}

// ---- pools ----

std::shared_ptr<StoreModel::SharedPool> StoreModel::FindShared(uint64_t uuid) const {
  for (const auto& pool : shared_) {
    if (!pool->draining && pool->uuid == uuid) return pool;
  }
  return nullptr;
}

void StoreModel::NewPool(const ModelOp& op) {
  ModelGuest& guest = guests_[op.guest % kGuests];
  if (!guest.handle) return;
  PoolOptions options;
  options.page_class = op.argument % 2 == 0 ? kEphemeral : kPersistent;
  options.shared = op.argument / 2 % 3 == 0;
  const uint64_t uuid = op.argument / 8 % (kUuids + 1);
  options.uuid = uuid == kUuids ? kAllOnes : UuidOf(uuid);
  const auto id = store_->NewPool(*guest.handle, options);

  if (options.shared && options.page_class == kPersistent) {
    return Demand(!id && id.error() == NewPoolError::kDenied, "a shared persistent pool");
  }
  Entry entry;
  if (options.shared && uuid != kUuids && guest.settings.shared_auth.contains(options.uuid)) {
    entry.shared = FindShared(uuid);
    if (!entry.shared && shared_.size() == kMaxSharedPools) {
      return Demand(!id && id.error() == NewPoolError::kNoSpace, "a shared pool too many");
    }
    if (!entry.shared) {
      entry.shared = std::make_shared<SharedPool>();
      entry.shared->uuid = uuid;
    }
    entry.pool = entry.shared;
  } else {
    entry.pool = std::make_shared<ModelPool>();
    entry.pool->page_class = options.page_class;
  }
  const auto free = std::ranges::find(guest.pools, false, &std::optional<Entry>::has_value);
  if (!guest.present || free == guest.pools.end()) {
    return Demand(!id && id.error() == NewPoolError::kNoSpace, "a pool too many");
  }
  Demand(id && id->value == free - guest.pools.begin(), "a new pool's id");
  if (entry.shared) {
    if (entry.shared->members.empty()) shared_.push_back(entry.shared);
    entry.shared->members.push_back(guest.life);
  }
  *free = std::move(entry);
}

// As SharedPools::Leave, where there is room for everything.
void StoreModel::Leave(ModelGuest& guest, Entry& entry) {
  SharedPool& pool = *entry.shared;
  pool.members.erase(std::ranges::find(pool.members, guest.life));
  pool.draining = pool.members.empty();
  if (pool.draining || std::ranges::find(pool.members, guest.life) != pool.members.end()) return;
  for (Life& payer : pool.payer) {
    if (payer == guest.life) payer = pool.members.front();
  }
}

void StoreModel::EndPool(ModelGuest& guest, std::optional<Entry>& entry) {
  if (!entry->closing && entry->shared) Leave(guest, *entry);
  if (entry->shared && entry->shared->draining) std::erase(shared_, entry->shared);
  entry.reset();
}

void StoreModel::DestroyPool(const ModelOp& op) {
  ModelGuest& guest = guests_[op.guest % kGuests];
  if (!guest.handle) return;
  const PageCount budget = BudgetOf(op.argument);
  PoolId id{op.pool % (kMaxPoolsPerGuest + 1)};
  // Pools that began to end come first, or they would pile up.
  for (uint32_t i = 0; i < kMaxPoolsPerGuest; ++i) {
    if (guest.pools[i] && guest.pools[i]->closing) id = PoolId{i};
  }
  std::optional<Entry> none;
  auto& entry = id.value < kMaxPoolsPerGuest ? guest.pools[id.value] : none;
  if (entry && !entry->closing) entry->left = StoredIn(guest, id, *entry);

  const FlushStatus status = store_->DestroyPool(*guest.handle, id, budget);
  if (!entry) return Demand(status == FlushStatus::kNoPool, "destroying no pool");
  const bool others_stay = entry->shared && !entry->closing && entry->shared->members.size() > 1;
  if (status == FlushStatus::kMore) {
    Demand(!others_stay && entry->left > budget.value, "a pool does not end within its budget");
    if (!entry->closing && entry->shared) Leave(guest, *entry);
    entry->closing = true;
    entry->left -= budget.value;
  } else {
    Demand(status == FlushStatus::kDone, "unexpected destroy status");
    Demand(others_stay || MayLose(*entry->pool) || entry->left <= budget.value,
           "a pool's end exceeded its budget");
    EndPool(guest, entry);
  }
}

// ---- control ----

GuestSettings StoreModel::MakeSettings(uint32_t argument) const {
  const uint64_t random = Mix(argument);
  GuestSettings settings;
  settings.weight = static_cast<uint32_t>(1 + random % 300);
  settings.frozen = (random >> 10) % 16 == 0;
  for (uint64_t uuid = 0; uuid < kUuids; ++uuid) {
    if ((random >> (16 + uuid) & 1) != 0) settings.shared_auth.insert(UuidOf(uuid));
  }
  for (int i = 0; i < kPageClasses; ++i) {
    settings.compress[i] = config_.raw_only
                               ? CompressMode::kOff
                               : static_cast<CompressMode>((random >> (20 + 2 * i)) % 3);
  }
  if (config_.scarcity == Scarcity::kNone) return settings;
  if ((random >> 30 & 3) != 0) settings.cap = kRawCharge * (random >> 32 & 0x3ff);
  if (config_.scarcity == Scarcity::kCapacity && (random >> 44 & 1) != 0) {
    settings.reserve = std::min(settings.cap, Segments(random >> 46 & 3));
  }
  return settings;
}

void StoreModel::Configure(const ModelOp& op) {
  ModelGuest& guest = guests_[op.guest % kGuests];
  const GuestId id{static_cast<uint16_t>(op.guest % kGuests)};
  const GuestSettings settings = MakeSettings(op.argument);
  const auto result = store_->Configure(id, settings);
  if (!guest.present) return Demand(!result, "configuring no guest");
  Demand(result.has_value(), "good settings");
  guest.settings = settings;
  Demand(*store_->SettingsOf(id) == settings, "settings read back");
  const Bytes charged = guest.handle->ledger().charged();
  if (charged > settings.cap && !IsClosing(guest)) {
    Demand(charged == PersistentCharge(guest), "ephemeral pages above a lowered cap");
  }
  guest.last_charged = charged;
}

void StoreModel::SetCapacity(const ModelOp& op) {
  if (config_.scarcity != Scarcity::kCapacity) return;
  const Bytes capacity = Segments(op.argument % 24 + 1);
  const Bytes in_force = store_->SetCapacity(capacity + Bytes(op.argument % 1000));
  const StoreStats stats = store_->Stats();
  Demand(stats.capacity == capacity, "capacity read back");
  Demand(in_force == std::max(capacity, stats.segments[1]), "only persistent pages hold memory");
  last_in_use_ = stats.segments[0] + stats.segments[1];
}

void StoreModel::SetPolicy(const ModelOp& op) {
  if (config_.scarcity != Scarcity::kCapacity) return;
  const PolicySettings policy{.kind = static_cast<PolicyKind>(op.argument % kPolicyNames.size()),
                              .surrender_percent = static_cast<uint32_t>(op.argument / 8 % 5 * 50)};
  Demand(store_->SetPolicy(policy).has_value(), "a good policy");
  Demand(store_->policy() == policy, "a policy read back");
}

void StoreModel::SetSurrendered(const ModelOp& op) {
  if (config_.scarcity != Scarcity::kCapacity) return;
  const GuestId id{static_cast<uint16_t>(op.guest % kGuests)};
  const Bytes surrendered = Segments(op.argument % 8) + Bytes(op.argument % 1000);
  const bool present = guests_[id.value].present;
  Demand(store_->SetSurrendered(id, surrendered).has_value() == present, "surrendering memory");
}

void StoreModel::Tick() {
  now_ += std::chrono::seconds(1);
  store_->Tick(now_);
}

void StoreModel::FlushEphemeral(const ModelOp& op) {
  ModelGuest& guest = guests_[op.guest % kGuests];
  const GuestId id{static_cast<uint16_t>(op.guest % kGuests)};
  const Bytes before = guest.present ? guest.handle->ledger().charged() : Bytes(0);
  const auto result = store_->FlushEphemeral(id);
  if (!guest.present) return Demand(!result, "flushing no guest");
  Demand(result && *result == before - guest.handle->ledger().charged(), "bytes given back");
  Demand(store_->StatsOf(id)->segments[0] == Bytes(0), "ephemeral memory after a flush of it");
  for (auto& entry : guest.pools) {
    if (!entry || entry->shared || entry->pool->page_class != kEphemeral) continue;
    entry->left = 0;
    entry->pool->losses += entry->pool->count;
    for (uint64_t key = 0; key < kObjects * kIndexes; ++key) Erase(*entry->pool, key);
  }
}

void StoreModel::AddGuest(const ModelOp& op) {
  ModelGuest& guest = guests_[op.guest % kGuests];
  const GuestSettings settings = MakeSettings(op.argument);
  auto handle = store_->AddGuest(GuestId{static_cast<uint16_t>(op.guest % kGuests)}, settings);
  if (guest.present) return Demand(!handle, "a guest twice");
  Demand(handle.has_value(), "a new guest");
  guest = ModelGuest{};
  guest.handle = std::move(*handle);
  guest.present = true;
  guest.life = ++last_life_;
  guest.settings = settings;
}

void StoreModel::RemoveGuest(const ModelOp& op) {
  ModelGuest& guest = guests_[op.guest % kGuests];
  store_->RemoveGuest(GuestId{static_cast<uint16_t>(op.guest % kGuests)});
  if (!guest.present) return;
  for (auto& entry : guest.pools) {
    if (entry) EndPool(guest, entry);
  }
  guest.present = false;
  Demand(guest.handle->ledger().charged() == Bytes(0), "a dead guest's charge");
}

void StoreModel::Finish() {
  CheckAll();
  for (uint8_t i = 0; i < kGuests; ++i) {
    current_.kind = Kind::kRemoveGuest;
    current_.guest = i;
    RemoveGuest(current_);
    guests_[i].handle.reset();
  }
  CheckAll();
  const StoreStats stats = store_->Stats();
  Demand(stats.guests == 0 && stats.shared_pools == 0, "guests or pools left over");
  Demand(stats.segments[0] + stats.segments[1] == Bytes(0), "segments left over");
  Demand(stats.stored[0].pages + stats.stored[1].pages == 0, "pages left over");
  Demand(stats.stored[0].charged_bytes + stats.stored[1].charged_bytes == 0, "charges left over");
  Demand(stats.index_bytes == empty_index_bytes_, "index memory left over");
}

}  // namespace tmem
