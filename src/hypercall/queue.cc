#include "hypercall/queue.h"

#include <bit>
#include <cstring>
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
    if ((unshown_gets_ & ObjectsChangedBy(*request_)) != 0) Push();
    const bool timed = times != nullptr && times->IsNext();
    const Outcome outcome = timed ? ExecuteTimed(codec, *times) : Execute(codec);
    spent += outcome.cost + 1;  // an operation that moves nothing is not free either
    if (outcome.finished) Finish(outcome);
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
  return request_.has_value() || ring_.Arm();
}

bool Queue::NextRequest(Turn& turn) {
  if (broken_) {
    turn = Turn::kBroken;
    return false;
  }
  if (request_) return true;
  tmemif_request request;
  switch (ring_.Take(request)) {
    case BackRing::Taken::kNothing:
      return false;
    case BackRing::Taken::kOverrun:
      Break("req_prod is further ahead than the ring is long");
      turn = Turn::kBroken;
      return false;
    case BackRing::Taken::kRequest:
      break;
  }
  if (const auto violation = FindViolation(request, parts_.agreement)) {
    Break(*violation);
    turn = Turn::kBroken;
    return false;
  }
  request_ = request;
  return true;
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
  request_.reset();
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

Queue::Outcome Queue::Execute(PageCodec& codec) {
  switch (request_->op) {
    case TMEMIF_OP_NEW_POOL:
      return NewPool();
    case TMEMIF_OP_DESTROY_POOL:
      return DestroyPool();
    case TMEMIF_OP_PUT_PAGE:
      return PutPages(codec);
    case TMEMIF_OP_GET_PAGE:
      return GetPages(codec);
    case TMEMIF_OP_FLUSH_PAGE:
      return FlushPages();
    case TMEMIF_OP_FLUSH_OBJECT:
      return FlushObject();
    default:
      return {.status = Negative(TMEMIF_ENOSYS)};
  }
}

Queue::Outcome Queue::ExecuteTimed(PageCodec& codec, OperationTimes& times) {
  const bool of_pages = request_->op == TMEMIF_OP_PUT_PAGE || request_->op == TMEMIF_OP_GET_PAGE ||
                        request_->op == TMEMIF_OP_FLUSH_PAGE;
  times.Begin();
  const Outcome outcome = Execute(codec);
  times.End(request_->op, of_pages ? request_->u.page.nr_pages : 1);
  return outcome;
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

Queue::Outcome Queue::PutPages(PageCodec& codec) {
  const tmemif_page_args& args = request_->u.page;
  Handle handle{.pool = {request_->pool}, .object = ObjectOf(args.oid), .index = {args.index}};
  if ((request_->flags & TMEMIF_REQ_POSTED) != 0 &&
      Store::ClassOf(*guest_, handle.pool) == PageClass::kPersistent) {
    FlushPages();  // a put that is refused leaves no old page behind
    return {.status = Negative(TMEMIF_EINVAL), .cost = args.nr_pages};
  }
  int32_t first = 0;
  uint64_t done = 0;
  for (uint32_t k = 0; k < args.nr_pages; ++k, ++handle.index.value) {
    CopyFromShared(page_.data(), SlotAt(args.slot + k), kPageSize);
    const int32_t status = StatusOf(store_.Put(*guest_, handle, PageView(page_), codec));
    if (k == 0) first = status;
    if (status == 1) done |= uint64_t{1} << k;
  }
  return {.status = BatchStatus(done, first), .done = done, .cost = args.nr_pages};
}

Queue::Outcome Queue::GetPages(PageCodec& codec) {
  const tmemif_page_args& args = request_->u.page;
  Handle handle{.pool = {request_->pool}, .object = ObjectOf(args.oid), .index = {args.index}};
  int32_t first = 0;
  uint64_t done = 0;
  for (uint32_t k = 0; k < args.nr_pages; ++k, ++handle.index.value) {
    const int32_t status = StatusOf(store_.Get(*guest_, handle, MutablePageView(page_), codec));
    if (k == 0) first = status;
    if (status != 1) continue;
    std::memcpy(SlotAt(args.slot + k), page_.data(), kPageSize);
    done |= uint64_t{1} << k;
  }
  return {.status = BatchStatus(done, first), .done = done, .cost = args.nr_pages};
}

Queue::Outcome Queue::FlushPages() {
  const tmemif_page_args& args = request_->u.page;
  Handle handle{.pool = {request_->pool}, .object = ObjectOf(args.oid), .index = {args.index}};
  bool frozen = false;
  uint64_t done = 0;
  for (uint32_t k = 0; k < args.nr_pages; ++k, ++handle.index.value) {
    const FlushStatus status = store_.FlushPage(*guest_, handle);
    if (status == FlushStatus::kNoPool) return {.status = StatusOf(status)};
    frozen |= status == FlushStatus::kFrozen;
    done |= uint64_t{1} << k;
  }
  return {.status = frozen ? Negative(TMEMIF_EFROZEN) : static_cast<int32_t>(args.nr_pages),
          .done = done,
          .cost = args.nr_pages};
}

Queue::Outcome Queue::FlushObject() {
  const FlushStatus status = store_.FlushObject(*guest_, PoolId{request_->pool},
                                                ObjectOf(request_->u.object.oid), kFlushStep);
  return {
      .finished = status != FlushStatus::kMore, .status = StatusOf(status), .cost = kFlushStepCost};
}

}  // namespace tmem
