#include "hypercall/queue.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>
#include <utility>

#include "hypercall/shared_copy.h"

namespace tmem {

namespace {

// Responses are shown to the frontend this many at a time while more requests are waiting: each
// showing moves a cache line between the two sides.
constexpr uint32_t kResponsesPerPush = 8;

// A flush of an object or the destruction of a pool goes on in steps of so many pages. Removing a
// page is about a sixteenth of the work of moving one, which is what budgets count; a step is
// charged in full, because how much it found is the store's secret.
constexpr PageCount kFlushStep{256};
constexpr uint64_t kFlushStepCost = kFlushStep.value / 16;

int32_t Negative(uint32_t error) { return -static_cast<int32_t>(error); }

int32_t StatusOf(PutStatus status) {
  switch (status) {
    case PutStatus::kStored:
      return 1;
    case PutStatus::kNoMemory:
      return Negative(TMEMIF_ENOMEM);
    case PutStatus::kFrozen:
      return Negative(TMEMIF_EFROZEN);
    case PutStatus::kNoPool:
      break;
  }
  return Negative(TMEMIF_ENODEV);
}

int32_t StatusOf(GetStatus status) {
  switch (status) {
    case GetStatus::kHit:
      return 1;
    case GetStatus::kMiss:
      return 0;
    case GetStatus::kEmpty:
      return Negative(TMEMIF_EEMPTY);
    case GetStatus::kCorrupt:
      return Negative(TMEMIF_EIO);
    case GetStatus::kNoPool:
      break;
  }
  return Negative(TMEMIF_ENODEV);
}

int32_t StatusOf(FlushStatus status) {
  switch (status) {
    case FlushStatus::kDone:
    case FlushStatus::kMore:
      return 1;
    case FlushStatus::kFrozen:
      return Negative(TMEMIF_EFROZEN);
    case FlushStatus::kNoPool:
      break;
  }
  return Negative(TMEMIF_ENODEV);
}

ObjectId ObjectOf(const tmemif_oid& oid) { return {{oid.word[0], oid.word[1], oid.word[2]}}; }

// One of 64 bits for each object of each pool, the same for a few others.
uint64_t BitOf(uint32_t pool, const tmemif_oid& oid) {
  constexpr uint64_t kGoldenRatio = 0x9e3779b97f4a7c15;
  uint64_t hash = pool;
  for (const uint64_t word : oid.word) hash = (std::rotl(hash, 29) ^ word) * kGoldenRatio;
  return uint64_t{1} << (hash >> 58);
}

// The bits of all objects whose pages the request may change.
uint64_t ObjectsChangedBy(const tmemif_request& request) {
  switch (request.op) {
    case TMEMIF_OP_PUT_PAGE:
    case TMEMIF_OP_FLUSH_PAGE:
      return BitOf(request.pool, request.u.page.oid);
    case TMEMIF_OP_FLUSH_OBJECT:
      return BitOf(request.pool, request.u.object.oid);
    case TMEMIF_OP_DESTROY_POOL:
      return UINT64_MAX;
    default:
      return 0;
  }
}

// How many pages the request names.
uint32_t PagesOf(const tmemif_request& request) {
  switch (request.op) {
    case TMEMIF_OP_PUT_PAGE:
    case TMEMIF_OP_GET_PAGE:
    case TMEMIF_OP_FLUSH_PAGE:
      return request.u.page.nr_pages;
    default:
      return 0;
  }
}

// Of one of them.
Handle HandleOf(const tmemif_request& request, uint32_t k) {
  const tmemif_page_args& args = request.u.page;
  return {.pool = {request.pool}, .object = ObjectOf(args.oid), .index = {args.index + k}};
}

// What the request's pages are to be prefetched for, if that is of use.
std::optional<Ahead> AheadOf(const tmemif_request& request) {
  switch (request.op) {
    case TMEMIF_OP_PUT_PAGE:
      return Ahead::kPuts;
    case TMEMIF_OP_GET_PAGE:
      return Ahead::kGets;
    default:
      return std::nullopt;
  }
}

// A batch's status: the pages done if any was, else what became of the first page.
int32_t BatchStatus(uint64_t done, int32_t first) {
  return done != 0 ? std::popcount(done) : first;
}

}  // namespace

Queue::Queue(Store& store, std::shared_ptr<Guest> guest, Parts parts, OnViolation on_violation)
    : parts_(std::move(parts)),
      store_(store),
      guest_(std::move(guest)),
      on_violation_(std::move(on_violation)),
      ring_(parts_.ring->bytes(), parts_.ring_page_order),
      first_(ring_.answered()) {}

Queue::Turn Queue::Process(PageCodec& codec, PageCount budget, OperationTimes* times) {
  Turn turn = Turn::kIdle;
  uint64_t spent = 0;
  while (spent < budget.value && NextRequest(turn)) {
    spent += IsForGroups(*request_) ? ExecuteGroup(codec, PageCount(budget.value - spent), times)
                                    : Execute(codec, times);
  }
  if (turn == Turn::kBroken) return turn;
  Push();
  if (std::exchange(notify_, false)) {
    notifications_.fetch_add(1, std::memory_order_relaxed);
    parts_.channel->Notify();
  }
  return spent < budget.value ? Turn::kIdle : Turn::kMore;
}

bool Queue::Arm() {
  if (broken_) return false;
  return request_ != nullptr || next_ != taken_ || violation_ || ring_.Arm();
}

bool Queue::NextRequest(Turn& turn) {
  if (request_ != nullptr) return true;
  if (next_ == taken_ && !broken_) TakeRequests();
  if (next_ != taken_) {
    request_ = &in_hand_[next_++];
    return true;
  }
  if (broken_) turn = Turn::kBroken;
  return false;
}

// Takes what waits, up to about as many pages as are prefetched at once. What is wrong with a
// request shows when those before it are executed.
void Queue::TakeRequests() {
  next_ = taken_ = 0;
  if (violation_) return Break(*violation_);
  uint32_t pages = 0;
  while (taken_ < in_hand_.size() && pages < Store::kGroup) {
    if (taken_ > 0 && ring_.known() == 0) break;
    tmemif_request& request = in_hand_[taken_];
    switch (ring_.Take(request)) {
      case BackRing::Taken::kNothing:
        return;
      case BackRing::Taken::kOverrun:
        return Break("req_prod is further ahead than the ring is long");
      case BackRing::Taken::kRequest:
        break;
    }
    violation_ = FindViolation(request, parts_.agreement);
    if (violation_) {
      if (taken_ == 0) Break(*violation_);
      break;
    }
    ++taken_;
    pages += PagesOf(request);
  }
  if (pages > 1) Prefetch();
}

void Queue::Prefetch() {
  std::array<Handle, Store::kGroup> handles;
  size_t left = handles.size();
  for (size_t i = 0; i < taken_ && left > 0;) {
    const auto ahead = AheadOf(in_hand_[i]);
    size_t count = 0;
    for (; i < taken_ && AheadOf(in_hand_[i]) == ahead; ++i) {
      for (uint32_t k = 0; k < PagesOf(in_hand_[i]) && count < left; ++k) {
        handles[count++] = HandleOf(in_hand_[i], k);
      }
    }
    if (!ahead) continue;
    store_.Prefetch(*guest_, std::span(handles).first(count), *ahead);
    left -= count;
  }
}

// Of a put or get with more pages than a group, what taking it did not prefetch: at each group's
// first page, that group.
void Queue::PrefetchGroupAt(const tmemif_request& request, uint32_t k) {
  if (k == 0 || k % Store::kGroup != 0) return;
  std::array<Handle, Store::kGroup> handles;
  size_t count = 0;
  for (; k < PagesOf(request) && count < handles.size(); ++k) {
    handles[count++] = HandleOf(request, k);
  }
  store_.Prefetch(*guest_, std::span(handles).first(count), *AheadOf(request));
}

void Queue::Break(std::string_view reason) {
  broken_ = true;
  on_violation_(reason);
}

void Queue::Finish(const Outcome& outcome) {
  ring_.Answer({.id = request_->id, .reserved = 0, .status = outcome.status, .done = outcome.done});
  requests_.fetch_add(1, std::memory_order_relaxed);
  answered_waited_for_ |= (request_->flags & TMEMIF_REQ_POSTED) == 0;
  if (request_->op == TMEMIF_OP_GET_PAGE) {
    unshown_gets_ |= BitOf(request_->pool, request_->u.page.oid);
  }
  request_ = nullptr;
  if (ring_.unpushed() >= kResponsesPerPush) Push();
}

void Queue::Push() {
  notify_ |= ring_.Push();
  unshown_gets_ = 0;
  // Who posted does not wait: that notification can wait until the turn ends.
  if (!std::exchange(answered_waited_for_, false) || !notify_) return;
  notify_ = false;
  notifications_.fetch_add(1, std::memory_order_relaxed);
  parts_.channel->Notify();
}

uint64_t Queue::Execute(PageCodec& codec, OperationTimes* times) {
  if ((unshown_gets_ & ObjectsChangedBy(*request_)) != 0) Push();
  const bool timed = times != nullptr && times->IsNext();
  if (timed) times->Begin();
  const Outcome outcome = OutcomeOf(codec);
  if (timed) times->End(request_->op, std::max(PagesOf(*request_), 1u));
  if (outcome.finished) Finish(outcome);
  return outcome.cost + 1;  // an operation that moves nothing is not free either
}

Queue::Outcome Queue::OutcomeOf(PageCodec& codec) {
  switch (request_->op) {
    case TMEMIF_OP_NEW_POOL:
      return NewPool();
    case TMEMIF_OP_DESTROY_POOL:
      return DestroyPool();
    case TMEMIF_OP_PUT_PAGE:
      return RefusePosted();
    case TMEMIF_OP_GET_PAGE:
      return GetPages(codec);
    case TMEMIF_OP_FLUSH_OBJECT:
      return FlushObject();
    default:
      return {.status = Negative(TMEMIF_ENOSYS)};
  }
}

RingPosition Queue::Position() const {
  const uint32_t index = ring_.answered();
  return {.queue = parts_.number, .index = index, .again = index - first_ < ring_.entries()};
}

Queue::Outcome Queue::NewPool() {
  const tmemif_new_pool_args& args = request_->u.new_pool;
  const uint32_t page_order = args.flags >> TMEMIF_POOL_PAGESIZE_SHIFT & TMEMIF_POOL_PAGESIZE_MASK;
  const uint32_t version = args.flags >> TMEMIF_POOL_VERSION_SHIFT & TMEMIF_POOL_VERSION_MASK;
  if ((args.flags & (TMEMIF_POOL_PRECOMPRESSED | TMEMIF_POOL_RESERVED_BITS)) != 0 ||
      page_order != 0 || version != TMEMIF_SPEC_VERSION) {
    return {.status = Negative(TMEMIF_EPERM)};
  }
  PoolOptions options;
  if ((args.flags & TMEMIF_POOL_PERSIST) != 0) options.page_class = PageClass::kPersistent;
  options.shared = (args.flags & TMEMIF_POOL_SHARED) != 0;
  options.uuid = Uuid{{args.uuid[0], args.uuid[1]}};
  const auto pool = store_.NewPool(*guest_, options, Position());
  if (pool) return {.status = static_cast<int32_t>(pool->value)};
  return {.status = Negative(pool.error() == NewPoolError::kDenied ? TMEMIF_EPERM : TMEMIF_ENOSPC)};
}

Queue::Outcome Queue::DestroyPool() {
  const FlushStatus status =
      store_.DestroyPool(*guest_, PoolId{request_->pool}, kFlushStep, Position());
  return {
      .finished = status != FlushStatus::kMore, .status = StatusOf(status), .cost = kFlushStepCost};
}

bool Queue::IsForGroups(const tmemif_request& request) const {
  if (request.op == TMEMIF_OP_FLUSH_PAGE) return true;
  return request.op == TMEMIF_OP_PUT_PAGE &&
         ((request.flags & TMEMIF_REQ_POSTED) == 0 ||
          Store::ClassOf(*guest_, PoolId{request.pool}) != PageClass::kPersistent);
}

// A put into a persistent pool may not be posted: nobody would learn that it was refused.
Queue::Outcome Queue::RefusePosted() {
  Statuses statuses;
  FlushAll({request_, 1}, statuses);  // a put that is refused leaves no old page behind
  return {.status = Negative(TMEMIF_EINVAL), .cost = PagesOf(*request_)};
}

// The requests that follow in hand and are of the same kind, too, up to a group's pages.
std::span<const tmemif_request> Queue::TakeGroup(PageCount budget) {
  const uint64_t most = std::min<uint64_t>(Store::kGroup, budget.value);
  const size_t first = next_ - 1;
  uint64_t pages = PagesOf(*request_);
  for (; next_ < taken_; ++next_) {
    const tmemif_request& request = in_hand_[next_];
    pages += PagesOf(request);
    if (request.op != request_->op || pages > most || !IsForGroups(request)) break;
  }
  return std::span(in_hand_).subspan(first, next_ - first);
}

uint64_t Queue::ExecuteGroup(PageCodec& codec, PageCount budget, OperationTimes* times) {
  const std::span<const tmemif_request> requests = TakeGroup(budget);
  const uint8_t op = request_->op;
  uint64_t pages = 0;
  uint64_t changed = 0;
  for (const tmemif_request& request : requests) {
    pages += PagesOf(request);
    changed |= ObjectsChangedBy(request);
  }
  if ((unshown_gets_ & changed) != 0) Push();

  const bool timed = times != nullptr && times->IsNext(static_cast<uint32_t>(requests.size()));
  if (timed) times->Begin();
  Statuses statuses;
  if (op == TMEMIF_OP_PUT_PAGE) {
    PutAll(requests, codec, statuses);
  } else {
    FlushAll(requests, statuses);
  }
  if (timed) times->End(op, pages);

  std::span<const int32_t> left = statuses;
  for (const tmemif_request& request : requests) {
    const auto those = left.first(PagesOf(request));
    left = left.subspan(those.size());
    request_ = &request;
    Finish(op == TMEMIF_OP_PUT_PAGE ? OutcomeOfPut(those) : OutcomeOfFlush(those));
  }
  return pages + requests.size();
}

Queue::Outcome Queue::OutcomeOfPut(std::span<const int32_t> pages) {
  uint64_t done = 0;
  for (size_t k = 0; k < pages.size(); ++k) done |= uint64_t{pages[k] == 1} << k;
  return {.status = BatchStatus(done, pages[0]), .done = done};
}

Queue::Outcome Queue::OutcomeOfFlush(std::span<const int32_t> pages) {
  const auto any = [pages](int32_t status) {
    return std::ranges::find(pages, status) != pages.end();
  };
  if (any(Negative(TMEMIF_ENODEV))) return {.status = Negative(TMEMIF_ENODEV)};
  const bool frozen = any(Negative(TMEMIF_EFROZEN));
  return {.status = frozen ? Negative(TMEMIF_EFROZEN) : static_cast<int32_t>(pages.size()),
          .done = UINT64_MAX >> (64 - pages.size())};
}

// What became of each page, in `statuses`.
void Queue::PutAll(std::span<const tmemif_request> requests, PageCodec& codec, Statuses& statuses) {
  // Private copies of the pages that are being put.
  alignas(64) std::array<std::array<std::byte, kPageSize>, Store::kGroup> copies;
  size_t count = 0;
  auto at = statuses.begin();
  Store::Puts puts(store_, *guest_, codec);
  const auto enter = [&] {
    at = std::ranges::transform(puts.Enter(), at, [](PutStatus status) {
           return StatusOf(status);
         }).out;
    count = 0;
  };
  for (const tmemif_request& request : requests) {
    for (uint32_t k = 0; k < PagesOf(request); ++k) {
      PrefetchGroupAt(request, k);
      std::array<std::byte, kPageSize>& copy = copies[count++];
      CopyFromShared(copy.data(), SlotAt(request.u.page.slot + k), kPageSize);
      puts.Add(HandleOf(request, k), copy);
      if (puts.full()) enter();
    }
  }
  enter();
}

Queue::Outcome Queue::GetPages(PageCodec& codec) {
  const tmemif_page_args& args = request_->u.page;
  Handle handle = HandleOf(*request_, 0);
  int32_t first = 0;
  uint64_t done = 0;
  for (uint32_t k = 0; k < args.nr_pages; ++k, ++handle.index.value) {
    PrefetchGroupAt(*request_, k);
    const int32_t status = StatusOf(store_.Get(*guest_, handle, MutablePageView(page_), codec));
    if (k == 0) first = status;
    if (status != 1) continue;
    std::memcpy(SlotAt(args.slot + k), page_.data(), kPageSize);
    done |= uint64_t{1} << k;
  }
  return {.status = BatchStatus(done, first), .done = done, .cost = args.nr_pages};
}

void Queue::FlushAll(std::span<const tmemif_request> requests, Statuses& statuses) {
  std::array<Handle, Store::kGroup> handles;
  std::array<FlushStatus, Store::kGroup> flushed;
  size_t count = 0;
  auto at = statuses.begin();
  const auto flush = [&] {
    const auto those = std::span(flushed).first(count);
    store_.FlushPages(*guest_, std::span(handles).first(count), those);
    at = std::ranges::transform(those, at, [](FlushStatus status) { return StatusOf(status); }).out;
    count = 0;
  };
  for (const tmemif_request& request : requests) {
    for (uint32_t k = 0; k < PagesOf(request); ++k) {
      handles[count++] = HandleOf(request, k);
      if (count == handles.size()) flush();
    }
  }
  flush();
}

Queue::Outcome Queue::FlushObject() {
  const FlushStatus status = store_.FlushObject(*guest_, PoolId{request_->pool},
                                                ObjectOf(request_->u.object.oid), kFlushStep);
  return {
      .finished = status != FlushStatus::kMore, .status = StatusOf(status), .cost = kFlushStepCost};
}

}  // namespace tmem
