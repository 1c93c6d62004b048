#include "client/queue.h"

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/copy.h"
#include "base/units.h"
#include "hypercall/loopback/channel.h"

namespace tmem::client {

namespace {

// So many pages of a larger put go in one request: the daemon stores them while the next are copied
// into their slots.
constexpr uint32_t kPagesOnTheirWay = 8;

thread_local bool in_completion = false;

tmemif_oid OidOf(const tmem_oid& oid) { return {{oid.word[0], oid.word[1], oid.word[2]}}; }

// The request for pages [first, first + count) of the operation, but for id and slot.
tmemif_request RequestFor(const Operation& operation, uint32_t first, uint32_t count) {
  tmemif_request request{};
  request.op = operation.code;
  request.pool = operation.pool;
  switch (operation.code) {
    case TMEMIF_OP_NEW_POOL:
      request.u.new_pool = operation.new_pool;
      break;
    case TMEMIF_OP_DESTROY_POOL:
      break;
    case TMEMIF_OP_FLUSH_OBJECT:
      request.u.object.oid = OidOf(operation.oid);
      break;
    default:
      request.u.page.oid = OidOf(operation.oid);
      request.u.page.index = operation.index + first;
      request.u.page.nr_pages = count;
  }
  return request;
}

// Puts another open file under a descriptor that others may be using.
void PutUnder(const UniqueFd& number, const UniqueFd& file) {
  // EBUSY, says the manual, while the number is just being opened elsewhere.
  while (::dup3(file.get(), number.get(), O_CLOEXEC) < 0 && (errno == EINTR || errno == EBUSY)) {
  }
}

}  // namespace

bool InCompletion() { return in_completion; }

Queue::Queue(const Config& config, loopback::GuestEnd channel, loopback::Bell bell,
             Listener& listener)
    : config_(config),
      listener_(listener),
      channel_(std::move(channel)),
      bell_(std::move(bell)),
      ring_(config.ring, config.ring_page_order),
      slots_(static_cast<uint32_t>(config.slots.size() / kPageSize)),
      pending_(ring_.entries()),
      spin_(config.spin) {}

// ---- operations ----

uint32_t Queue::PagesPerRequest(uint8_t code) const {
  if (!MovesPages(code)) return config_.max_batch;
  const uint32_t most = std::min(config_.max_batch, slots_.slots());
  return code == TMEMIF_OP_PUT_PAGE ? std::min(most, kPagesOnTheirWay) : most;
}

int Queue::Execute(Operation& operation) {
  MutexLock lock(mutex_);
  if (!SubmitParts(operation)) return -ENOTCONN;
  Await({.kind = Condition::Kind::kFinished, .operation = &operation});
  return operation.result;
}

bool Queue::Submit(std::unique_ptr<Operation> operation) {
  MutexLock lock(mutex_);
  if (!SubmitParts(*operation)) return false;
  // Owned by pending_ or, if it is answered already, by finished_.
  (void)operation.release();
  RunCompletions();
  return true;
}

bool Queue::SubmitParts(Operation& operation) {
  if (dead()) return false;
  const uint64_t ticket = next_ticket_++;
  const uint32_t largest = PagesPerRequest(operation.code);
  bool notify = false;
  for (uint32_t first = 0; first < operation.count;) {
    const uint32_t count = std::min(operation.count - first, largest);
    if (notify && !Holds({.kind = Condition::Kind::kRoom, .ticket = ticket, .slots = count})) {
      NotifyDaemon();
      notify = false;
    }
    if (!AwaitRoom(ticket, MovesPages(operation.code) ? count : 0)) return false;
    ++operation.unanswered;
    const std::byte* const source =
        operation.source == nullptr ? nullptr : operation.source + first * kPageSize;
    notify |= Push(
        RequestFor(operation, first, count),
        {.operation = &operation, .code = operation.code, .first = first, .count = count}, source);
    first += count;
  }
  operation.submitting = false;
  FinishIfAnswered(operation);
  LeaveLine();
  if (notify) NotifyDaemon();
  return true;
}

bool Queue::Post(uint32_t pool, const tmem_oid& oid, uint32_t index, const std::byte* page) {
  MutexLock lock(mutex_);
  if (dead()) return false;
  const uint64_t ticket = next_ticket_++;
  if (!AwaitRoom(ticket, 1)) return false;
  tmemif_request request{};
  request.op = TMEMIF_OP_PUT_PAGE;
  request.flags = config_.may_post ? TMEMIF_REQ_POSTED : 0;
  request.pool = pool;
  request.u.page.oid = OidOf(oid);
  request.u.page.index = index;
  request.u.page.nr_pages = 1;
  const bool notify = Push(request, {.code = request.op, .count = 1}, page);
  LeaveLine();
  if (notify) NotifyDaemon();
  RunCompletions();
  return true;
}

void Queue::CountRefusedPut() {
  MutexLock lock(mutex_);
  ++stats_.puts;
  ++stats_.puts_refused;
}

bool Queue::AwaitRoom(uint64_t ticket, uint32_t slots) {
  return Await({.kind = Condition::Kind::kRoom, .ticket = ticket, .slots = slots});
}

void Queue::LeaveLine() {
  ++served_ticket_;
  if (!followers_.empty()) WakeFollowers();
}

bool Queue::Push(tmemif_request request, Pending pending, const std::byte* source) {
  request.id = static_cast<uint16_t>(ring_.produced());
  if (MovesPages(pending.code)) {
    const SlotRing::Run run = slots_.Take(pending.count);
    pending.slot = run.first;
    pending.slots_taken = run.taken;
    request.u.page.slot = run.first;
  }
  if (pending.code == TMEMIF_OP_PUT_PAGE) {
    // Not Copy(): the daemon's processor holds these lines, and a string instruction takes them
    // over without reading them first (bench_ring: a third of a put's way).
    std::memcpy(SlotAt(pending.slot), source, pending.count * kPageSize);
    stats_.puts += pending.count;
  } else if (pending.code == TMEMIF_OP_GET_PAGE) {
    stats_.gets += pending.count;
  } else if (pending.code == TMEMIF_OP_FLUSH_PAGE) {
    stats_.flushes += pending.count;
  } else if (pending.code == TMEMIF_OP_FLUSH_OBJECT) {
    ++stats_.object_flushes;
  }
  ++stats_.requests;
  pending_[ring_.produced() % ring_.entries()] = pending;
  return ring_.Push(request);
}

void Queue::NotifyDaemon() {
  ++stats_.notifications;
  mutex_.unlock();
  loopback::Ring(channel_.outbound.get());
  mutex_.lock();
}

std::byte* Queue::SlotAt(uint32_t slot) const { return config_.slots.data() + slot * kPageSize; }

// ---- answers ----

void Queue::Reap() {
  bool progress = false;
  tmemif_response response;
  while (!dead()) {
    const uint32_t at = ring_.consumed();
    const FrontRing::Taken taken = ring_.Take(response);
    if (taken == FrontRing::Taken::kNothing) break;
    const Pending pending = pending_[at % ring_.entries()];
    if (taken == FrontRing::Taken::kOverrun || response.id != static_cast<uint16_t>(at) ||
        !IsPlausible(pending.code, pending.count, response)) {
      Die(at);
      listener_.DaemonBrokeProtocol();
      break;
    }
    Deliver(pending, response);
    progress = true;
  }
  if (progress && !followers_.empty()) WakeFollowers();
}

void Queue::Deliver(const Pending& pending, const tmemif_response& response) {
  Operation* const operation = pending.operation;
  if (pending.code == TMEMIF_OP_GET_PAGE) {
    std::byte* const destination = operation->destination + pending.first * kPageSize;
    for (uint64_t left = response.done; left != 0; left &= left - 1) {
      const auto page = static_cast<uint32_t>(std::countr_zero(left));
      Copy(destination + page * kPageSize, SlotAt(pending.slot + page), kPageSize);
    }
  }
  slots_.Release(pending.slots_taken);
  Count(pending, response);
  if (operation == nullptr) return;
  Absorb(*operation, pending.first, response);
  --operation->unanswered;
  FinishIfAnswered(*operation);
}

void Queue::Count(const Pending& pending, const tmemif_response& response) {
  const auto done = static_cast<uint64_t>(std::popcount(response.done));
  if (pending.code == TMEMIF_OP_PUT_PAGE) {
    stats_.puts_stored += done;
    stats_.puts_refused += pending.count - done;
  } else if (pending.code == TMEMIF_OP_GET_PAGE) {
    stats_.gets_found += done;
  }
}

void Queue::FinishIfAnswered(Operation& operation) {
  if (operation.submitting || operation.unanswered != 0 || operation.finished) return;
  operation.finished = true;
  if (operation.on_finished != nullptr) finished_.emplace_back(&operation);
}

void Queue::Die(uint32_t first) {
  // Release: pairs with dead()'s acquire; who sees it finds no request under way.
  dead_.store(true, std::memory_order_release);
  for (uint32_t i = first; i != ring_.produced(); ++i) {
    Operation* const operation = std::exchange(pending_[i % ring_.entries()].operation, nullptr);
    if (operation == nullptr) continue;
    operation->result = -ENOTCONN;
    operation->done = 0;
    --operation->unanswered;
    FinishIfAnswered(*operation);
  }
  WakeFollowers();
}

int Queue::RunCompletions() {
  if (finished_.empty()) return 0;
  if (in_completion) {
    mutex_.unlock();
    listener_.CompletionWaits();
    mutex_.lock();
    return 0;
  }
  PromoteFollower();  // completions may take their time
  int ran = 0;
  while (!finished_.empty()) {
    std::unique_ptr<Operation> operation = std::move(finished_.front());
    finished_.pop_front();
    mutex_.unlock();
    in_completion = true;
    operation->on_finished(operation->arg, operation->result, operation->done);
    in_completion = false;
    operation.reset();
    listener_.CompletionRan();
    ++ran;
    mutex_.lock();
  }
  return ran;
}

// ---- waiting ----

bool Queue::Holds(const Condition& condition) const {
  switch (condition.kind) {
    case Condition::Kind::kFinished:
      return condition.operation->finished;
    case Condition::Kind::kRoom:
      return condition.ticket == served_ticket_ && !ring_.full() &&
             (condition.slots == 0 || slots_.Fits(condition.slots));
    case Condition::Kind::kAllAnswered:
      break;
  }
  return ring_.unanswered() == 0;
}

bool Queue::Await(const Condition& condition) {
  const bool may_complete = condition.kind != Condition::Kind::kRoom;
  while (true) {
    Reap();
    if (may_complete) RunCompletions();
    if (dead()) break;
    if (Holds(condition)) break;
    if (led_) {
      Follow(condition);
    } else {
      led_ = true;
      Sleep(condition);
      led_ = false;
    }
  }
  PromoteFollower();
  return !dead();
}

void Queue::Sleep(const Condition& condition) {
  const uint32_t consumed = ring_.consumed();
  const Duration window = config_.spin == Duration::max() ? Duration::max() : spin_.window();
  const TimePoint start = clock_.Now();
  mutex_.unlock();
  const bool answered = Spin(consumed, window);
  mutex_.lock();
  // Another thread may have collected what we waited for after we looked and before we had the lock
  // again; then no answer may be outstanding that would wake us.
  if (!answered && !Holds(condition) && !ring_.Arm()) {
    ++stats_.sleeps;
    mutex_.unlock();
    pollfd waits[] = {{channel_fd(), POLLIN, 0}, {bell_.fd(), POLLIN, 0}};
    (void)::poll(waits, 2, -1);
    if (waits[0].revents != 0) loopback::TakeNotifications(channel_fd());
    if (waits[1].revents != 0) bell_.Silence();
    mutex_.lock();
  }
  spin_.Observe(clock_.Now() - start);
}

bool Queue::Spin(uint32_t consumed, Duration window) const {
  // No pause instruction: in a virtual machine it can cost an exit to the hypervisor, and reading
  // the clock is pause enough.
  const TimePoint start = clock_.Now();
  do {
    if (Answered(consumed)) return true;
  } while (clock_.Now() - start < window);
  return false;
}

void Queue::Follow(const Condition& condition) {
  Follower follower{condition};
  followers_.push_back(&follower);
  while (!follower.woken) follower.wake.wait(mutex_);
}

void Queue::WakeFollowers() {
  std::erase_if(followers_, [this](Follower* follower) TMEM_NO_THREAD_SAFETY_ANALYSIS {
    if (!dead() && !Holds(follower->condition)) return false;
    Wake(*follower);
    return true;
  });
}

void Queue::PromoteFollower() {
  if (led_) return;
  if (followers_.empty()) {
    if (std::exchange(lead_was_refused_, false)) listener_.LeadIsFree();
    return;
  }
  Wake(*followers_.front());
  followers_.pop_front();
}

void Queue::Wake(Follower& follower) {
  follower.woken = true;
  follower.wake.notify_one();
}

void Queue::AwaitAllAnswered() {
  MutexLock lock(mutex_);
  Await({.kind = Condition::Kind::kAllAnswered});
}

bool Queue::AllAnswered() {
  MutexLock lock(mutex_);
  return ring_.unanswered() == 0;
}

int Queue::Collect() {
  MutexLock lock(mutex_);
  Reap();
  return RunCompletions();
}

std::optional<uint32_t> Queue::Lead() {
  MutexLock lock(mutex_);
  if (led_) {
    lead_was_refused_ = true;
    return std::nullopt;
  }
  led_ = true;
  return ring_.consumed();
}

bool Queue::Arm() {
  MutexLock lock(mutex_);
  return dead() || ring_.Arm();
}

void Queue::StopLeading() {
  loopback::TakeNotifications(channel_fd());
  bell_.Silence();
  MutexLock lock(mutex_);
  led_ = false;
  PromoteFollower();
}

// ---- the connection ----

void Queue::Reconnect(const loopback::GuestEnd& channel) {
  PutUnder(channel_.inbound, channel.inbound);
  PutUnder(channel_.outbound, channel.outbound);
  bell_.Ring();  // a leader sleeps on the old channel
  Announce();
}

void Queue::Announce() { loopback::Ring(channel_.outbound.get()); }

void Queue::Kill() {
  {
    MutexLock lock(mutex_);
    if (!dead()) Die(ring_.consumed());
  }
  bell_.Ring();
}

void Queue::AddStats(tmem_stats& stats) {
  MutexLock lock(mutex_);
  stats.puts += stats_.puts;
  stats.puts_stored += stats_.puts_stored;
  stats.puts_refused += stats_.puts_refused;
  stats.gets += stats_.gets;
  stats.gets_found += stats_.gets_found;
  stats.flushes += stats_.flushes;
  stats.object_flushes += stats_.object_flushes;
  stats.requests += stats_.requests;
  stats.notifications += stats_.notifications;
  stats.sleeps += stats_.sleeps;
}

}  // namespace tmem::client
