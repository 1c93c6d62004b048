#include "hypercall/ring_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <stdexcept>

namespace tmem {

namespace {

constexpr uint64_t kObjects = 6;
constexpr uint32_t kIndexes = 48;
constexpr uint32_t kMaxPages = 8;
constexpr uint32_t kSlots = 32;

int32_t Minus(uint32_t error) { return -static_cast<int32_t>(error); }

uint64_t KeyOf(uint64_t object, uint32_t index) { return object << 32 | index; }

// A page of a shared pool carries its serial, and every byte follows from it.
Page SharedPage(uint64_t serial) {
  Page page = MakePage(PageLook::kText, serial);
  std::memcpy(page.data(), &serial, sizeof(serial));
  return page;
}

uint64_t AllOf(uint32_t pages) { return UINT64_MAX >> (64 - pages); }

}  // namespace

// ---- shared pages ----

uint64_t SharedBoard::Now() {
  const std::lock_guard lock(mutex_);
  return ++now_;
}

uint64_t SharedBoard::BeginPut(uint64_t handle) {
  const std::lock_guard lock(mutex_);
  puts_[++now_].handle = handle;
  return now_;
}

void SharedBoard::EndPut(uint64_t serial) {
  const std::lock_guard lock(mutex_);
  puts_[serial].end = ++now_;
}

bool SharedBoard::MayBeSeen(uint64_t serial, uint64_t handle, uint64_t flush_began) {
  const std::lock_guard lock(mutex_);
  const auto at = puts_.find(serial);
  return at != puts_.end() && at->second.handle == handle && at->second.end > flush_began;
}

// ---- sending ----

RingModel::RingModel(TestFrontend& frontend, size_t queues, SharedBoard& board,
                     const Config& config)
    : board_(board), config_(config), random_(config.seed) {
  for (size_t i = 0; i < queues; ++i) lanes_.push_back({.queue = &frontend.queue(i)});
}

void RingModel::Demand(bool condition, const char* what) const {
  if (!condition) {
    throw std::runtime_error(fmt::format("{}, at step {} of seed {}", what, steps_, config_.seed));
  }
}

void RingModel::Run() {
  for (; steps_ < config_.operations; ++steps_) Step();
  CheckAllPersistent();
  while (!pools_.empty()) {
    Demand(RunAlone(DestroyPoolRequest(pools_.begin()->first)) == 1, "a pool's destruction");
    pools_.erase(pools_.begin());
  }
}

void RingModel::Step() {
  if (pools_.size() < 3 || Random() % 2000 == 0) return ChangePools();
  auto pool = pools_.begin();
  std::advance(pool, Random() % pools_.size());
  const uint64_t object = Random() % kObjects;
  const ObjectId id = MakeObjectId(object);
  const auto pages = static_cast<uint32_t>(Random() % 3 == 0 ? Random() % kMaxPages + 1 : 1);
  const auto index = static_cast<uint32_t>(Random() % (kIndexes - kMaxPages));
  Lane& lane = lanes_[object % lanes_.size()];
  Pending pending{.object = object};
  const uint64_t kind = Random() % 100;
  if (kind < 45) {
    const bool posted = !pool->second.persistent && Random() % 2 == 0;
    pending.request = posted ? PostedPutRequest(pool->first, id, index, 0, pages)
                             : PutRequest(pool->first, id, index, 0, pages);
    Send(lane, std::move(pending), pages);
  } else if (kind < 85) {
    pending.request = GetRequest(pool->first, id, index, 0, pages);
    Send(lane, std::move(pending), pages);
  } else if (kind < 98) {
    pending.request = FlushPageRequest(pool->first, id, index, pages);
    Send(lane, std::move(pending), 0);
  } else {
    pending.request = FlushObjectRequest(pool->first, id);
    Send(lane, std::move(pending), 0);
  }
}

void RingModel::ChangePools() {
  if (pools_.size() >= 3) {
    auto pool = pools_.begin();
    std::advance(pool, Random() % pools_.size());
    Demand(RunAlone(DestroyPoolRequest(pool->first)) == 1, "a pool's destruction");
    pools_.erase(pool);
  }
  const auto is_shared = [](const auto& entry) { return entry.second.shared; };
  const bool shared = config_.shared_uuid && std::ranges::none_of(pools_, is_shared);
  const bool persistent = !shared && Random() % 2 == 0;
  const int32_t id = shared
                         ? RunAlone(NewPoolRequest(kSharedPool, *config_.shared_uuid))
                         : RunAlone(NewPoolRequest(persistent ? kPersistentPool : kEphemeralPool));
  Demand(id >= 0, "a new pool");
  Demand(pools_.emplace(id, Pool{.persistent = persistent, .shared = shared}).second,
         "a new pool's id");
}

void RingModel::Send(Lane& lane, Pending pending, uint32_t slots) {
  // Slots are used in a circle; a batch lies in one piece, so what is left at the end is skipped.
  const uint32_t skipped = lane.next_slot + slots > kSlots ? kSlots - lane.next_slot : 0;
  pending.slots_taken = skipped + slots;
  while (lane.queue->free() == 0 || lane.slots_used + pending.slots_taken > kSlots) {
    TakeAnswers(lane, true);
  }
  const uint32_t slot = (lane.next_slot + skipped) % kSlots;
  if (slots > 0) {
    pending.request.u.page.slot = slot;
    lane.next_slot = (slot + slots) % kSlots;
    lane.slots_used += pending.slots_taken;
  } else {
    pending.slots_taken = 0;
  }
  pending.request.id = static_cast<uint16_t>(Random());
  pending.began = board_.Now();
  if (pending.request.op == TMEMIF_OP_PUT_PAGE) FillSlots(lane, pending, slot);
  lane.queue->Produce(pending.request);
  lane.pending.push_back(std::move(pending));
  if (Random() % 3 == 0) {
    lane.queue->Publish();
    TakeAnswers(lane, false);
  }
}

void RingModel::FillSlots(Lane& lane, Pending& pending, uint32_t slot) {
  const tmemif_page_args& args = pending.request.u.page;
  const bool shared = pools_.at(pending.request.pool).shared;
  for (uint32_t k = 0; k < args.nr_pages; ++k) {
    Content content{.look = static_cast<PageLook>(Random() % kPageLooks), .seed = Random()};
    if (shared) {
      content.seed = board_.BeginPut(KeyOf(pending.object, args.index + k));
      std::ranges::copy(SharedPage(content.seed), lane.queue->Slot(slot + k).begin());
    } else {
      FillPage(content.look, content.seed, lane.queue->Slot(slot + k));
    }
    pending.contents.push_back(content);
  }
}

void RingModel::TakeAnswers(Lane& lane, bool wait) {
  lane.queue->Publish();
  while (!lane.pending.empty()) {
    if (const auto response = lane.queue->Take()) {
      Check(lane, *response);
      wait = false;
    } else if (!wait) {
      return;
    } else if (Random() % 4 == 0 && !lane.queue->Arm()) {
      Demand(lane.queue->Sleep(), "a wake-up was lost");
    }
  }
}

void RingModel::Drain() {
  for (Lane& lane : lanes_) {
    while (!lane.pending.empty()) TakeAnswers(lane, true);
  }
}

// With nothing else under way, as DESTROY_POOL wants it.
int32_t RingModel::RunAlone(const tmemif_request& request) {
  Drain();
  FrontQueue& queue = *lanes_[0].queue;
  queue.Produce(request);
  queue.Publish();
  while (true) {
    if (const auto response = queue.Take()) {
      Demand(response->id == request.id && response->done == 0, "an answer to a pool operation");
      return response->status;
    }
    if (!queue.Arm()) Demand(queue.Sleep(), "a wake-up was lost");
  }
}

void RingModel::CheckAllPersistent() {
  Drain();
  for (const auto& [id, pool] : pools_) {
    if (!pool.persistent) continue;
    for (const auto& [handle, content] : std::map(pool.pages)) {
      Pending pending{.request = GetRequest(id, MakeObjectId(handle.first), handle.second, 0),
                      .object = handle.first};
      Send(lanes_[handle.first % lanes_.size()], std::move(pending), 1);
    }
  }
  Drain();
}

// ---- answers ----

void RingModel::Check(Lane& lane, const tmemif_response& response) {
  const Pending pending = std::move(lane.pending.front());
  lane.pending.pop_front();
  lane.slots_used -= pending.slots_taken;
  Demand(response.id == pending.request.id, "an answer out of order");
  Demand(response.reserved == 0, "a reserved field");
  Pool& pool = pools_.at(pending.request.pool);
  switch (pending.request.op) {
    case TMEMIF_OP_PUT_PAGE:
      return CheckPut(pool, pending, response);
    case TMEMIF_OP_GET_PAGE:
      return CheckGet(lane, pool, pending, response);
    default:
      return CheckFlush(pool, pending, response);
  }
}

void RingModel::CheckPut(Pool& pool, const Pending& pending, const tmemif_response& response) {
  const tmemif_page_args& args = pending.request.u.page;
  Demand((response.done & ~AllOf(args.nr_pages)) == 0, "pages done that were not asked for");
  if (response.done != 0) {
    Demand(response.status == std::popcount(response.done), "the status of a put");
  } else {
    Demand((config_.may_freeze && response.status == Minus(TMEMIF_EFROZEN)) ||
               (config_.scarce && response.status == Minus(TMEMIF_ENOMEM)),
           "a put that was refused");
  }
  Demand(config_.scarce || config_.may_freeze || response.done == AllOf(args.nr_pages),
         "a page that was refused");
  for (uint32_t k = 0; k < args.nr_pages; ++k) {
    const Handle handle{pending.object, args.index + k};
    if (pool.shared) {
      board_.EndPut(pending.contents[k].seed);
    } else if ((response.done >> k & 1) != 0) {
      pool.pages[handle] = pending.contents[k];
    } else {
      pool.pages.erase(handle);  // a refused put leaves nothing behind
    }
  }
}

void RingModel::CheckGet(Lane& lane, Pool& pool, const Pending& pending,
                         const tmemif_response& response) {
  const tmemif_page_args& args = pending.request.u.page;
  Demand((response.done & ~AllOf(args.nr_pages)) == 0, "pages done that were not asked for");
  if (response.done != 0) {
    Demand(response.status == std::popcount(response.done), "the status of a get");
  } else {
    Demand(response.status == 0 || response.status == Minus(TMEMIF_EEMPTY), "a get's error");
  }
  for (uint32_t k = 0; k < args.nr_pages; ++k) {
    const Handle handle{pending.object, args.index + k};
    if ((response.done >> k & 1) != 0) {
      CheckHit(pool, handle, lane.queue->Slot(args.slot + k));
    } else {
      CheckMiss(pool, handle);
    }
  }
}

void RingModel::CheckHit(Pool& pool, const Handle& handle, PageView page) {
  ++hits_;
  if (pool.shared) {
    uint64_t serial = 0;
    std::memcpy(&serial, page.data(), sizeof(serial));
    Demand(std::ranges::equal(page, SharedPage(serial)), "a shared page's bytes");
    const auto flush = pool.flush_begans.find(handle);
    Demand(board_.MayBeSeen(serial, KeyOf(handle.first, handle.second),
                            flush == pool.flush_begans.end() ? 0 : flush->second),
           "a shared page that was flushed, or never put there");
    return;
  }
  const auto at = pool.pages.find(handle);
  Demand(at != pool.pages.end(), "a page that should not be there");
  Demand(std::ranges::equal(page, MakePage(at->second.look, at->second.seed)),
         "not the page that was put");
  if (!pool.persistent) pool.pages.erase(at);
}

void RingModel::CheckMiss(Pool& pool, const Handle& handle) {
  if (pool.pages.erase(handle) == 0) return;
  Demand(!pool.persistent, "a persistent page is gone");
  Demand(config_.scarce, "an ephemeral page is gone without need");
  ++losses_;
}

void RingModel::CheckFlush(Pool& pool, const Pending& pending, const tmemif_response& response) {
  const bool whole = pending.request.op == TMEMIF_OP_FLUSH_OBJECT;
  const uint32_t first = whole ? 0 : pending.request.u.page.index;
  const uint32_t pages = whole ? kIndexes : pending.request.u.page.nr_pages;
  const bool frozen = config_.may_freeze && response.status == Minus(TMEMIF_EFROZEN);
  Demand(frozen || response.status == (whole ? 1 : static_cast<int32_t>(pages)), "a flush");
  Demand(response.done == (whole ? 0 : AllOf(pages)), "the pages that a flush has done");
  for (uint32_t index = first; index < first + pages; ++index) {
    const Handle handle{pending.object, index};
    pool.pages.erase(handle);
    if (pool.shared) pool.flush_begans[handle] = pending.began;
  }
}

}  // namespace tmem
