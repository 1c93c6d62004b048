#include "client/client.h"

#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include "base/units.h"

namespace tmem::client {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstConnectPause{20};
constexpr milliseconds kShortestReconnectPause{10};
constexpr milliseconds kLongestReconnectPause{500};

// The milliseconds to `deadline` as poll() wants them.
int PollTimeout(TimePoint now, TimePoint deadline) {
  if (deadline == TimePoint::max()) return -1;
  if (deadline <= now) return 0;
  constexpr int64_t kLongest = 60'000;
  return static_cast<int>(
      std::min<int64_t>(kLongest, std::chrono::ceil<milliseconds>(deadline - now).count()));
}

Error Explain(Error error, const std::string& socket_path) {
  switch (error.code) {
    case ErrorCode::kNotFound:
      error.message += fmt::format("; is tmemd running, and is {} its socket?", socket_path);
      break;
    case ErrorCode::kDenied:
      error.message += "; this user may not use tmemd's socket";
      break;
    default:
      break;
  }
  return error;
}

}  // namespace

// ---- connecting ----

Result<std::unique_ptr<Client>> Client::Connect(const Config& config) {
  auto area = SharedArea::Create(config.wanted);
  if (!area) return std::unexpected(std::move(area).error());
  auto keeper_bell = loopback::Bell::Create();
  if (!keeper_bell) return std::unexpected(std::move(keeper_bell).error());
  auto poll_bell = loopback::Bell::Create();
  if (!poll_bell) return std::unexpected(std::move(poll_bell).error());
  std::unique_ptr<Client> client(
      new Client(config, *std::move(area), *std::move(keeper_bell), *std::move(poll_bell)));
  TMEM_TRY(client->ConnectFirst(client->clock_.Now() + config.connect_time));
  TMEM_TRY(client->MakeQueues());
  client->StartKeeper();
  return client;
}

Client::Client(const Config& config, SharedArea area, loopback::Bell keeper_bell,
               loopback::Bell poll_bell)
    : config_(config),
      area_(std::move(area)),
      keeper_bell_(std::move(keeper_bell)),
      poll_bell_(std::move(poll_bell)),
      frontend_({config.socket_path, config.guest_name, config.wanted}, area_, keeper_bell_),
      poll_spin_(config.spin) {}

Client::~Client() {
  if (!keeper_.joinable()) return;
  const TimePoint deadline = clock_.Now() + config_.drain_time;
  while (!dead() && clock_.Now() < deadline) {
    const uint64_t seen = Completions();
    CollectAll();
    const bool answered = std::ranges::all_of(queues_, &Queue::AllAnswered);
    if (answered && Unfinished() == 0) break;
    AwaitAnswers(seen, deadline);
  }
  keeper_bell_.Ring();
  keeper_.join();
  CollectAll();
}

Result<void> Client::ConnectFirst(TimePoint deadline) {
  while (true) {
    Result<void> connected = frontend_.Connect(deadline);
    if (connected) break;
    const ErrorCode code = connected.error().code;
    const bool may_pass = code == ErrorCode::kNotFound || code == ErrorCode::kUnavailable;
    if (!may_pass || clock_.Now() + kFirstConnectPause >= deadline) {
      return std::unexpected(Explain(std::move(connected).error(), config_.socket_path));
    }
    Pause(kFirstConnectPause);
  }
  domid_.store(frontend_.domid().value, std::memory_order_relaxed);
  return {};
}

Result<void> Client::MakeQueues() {
  const Frontend::Agreement& agreement = frontend_.agreement();
  std::vector<loopback::GuestEnd> channels = frontend_.TakeChannels();
  for (uint32_t i = 0; i < agreement.shape.queues; ++i) {
    auto bell = loopback::Bell::Create();
    if (!bell) return std::unexpected(std::move(bell).error());
    const Queue::Config config{.ring = area_.Ring(i),
                               .slots = area_.Slots(i),
                               .ring_page_order = agreement.shape.ring_page_order,
                               .max_batch = agreement.max_batch,
                               .may_post = agreement.may_post,
                               .spin = config_.spin};
    queues_.push_back(
        std::make_unique<Queue>(config, std::move(channels[i]), *std::move(bell), *this));
  }
  return {};
}

// ---- the keeper ----

void Client::StartKeeper() {
  // The program's signals are not this thread's business; it inherits the mask.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  keeper_ = std::thread([this] { Keep(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Client::Keep() {
  while (true) {
    Frontend::Outcome outcome = frontend_.Follow();
    if (outcome == Frontend::Outcome::kConnected) {
      for (const auto& queue : queues_) queue->Announce();
      continue;
    }
    Duration pause = kShortestReconnectPause;
    while (outcome == Frontend::Outcome::kTryAgain && !Pause(pause)) {
      outcome = frontend_.Reconnect();
      pause = std::min<Duration>(pause * 2, kLongestReconnectPause);
    }
    if (outcome != Frontend::Outcome::kConnected) break;
    domid_.store(frontend_.domid().value, std::memory_order_relaxed);
    reconnects_.fetch_add(1, std::memory_order_relaxed);
    std::vector<loopback::GuestEnd> channels = frontend_.TakeChannels();
    for (size_t i = 0; i < queues_.size(); ++i) queues_[i]->Reconnect(channels[i]);
  }
  Kill();
}

bool Client::Pause(Duration time) const {
  pollfd wait{keeper_bell_.fd(), POLLIN, 0};
  const TimePoint now = clock_.Now();
  return ::poll(&wait, 1, PollTimeout(now, now + time)) > 0;
}

void Client::Kill() {
  dead_.store(true, std::memory_order_release);
  for (const auto& queue : queues_) queue->Kill();
  CompletionsChanged();
}

void Client::DaemonBrokeProtocol() {
  dead_.store(true, std::memory_order_release);
  keeper_bell_.Ring();
}

// ---- operations ----

Queue& Client::QueueOf(uint32_t pool, const tmem_oid& oid) {
  if (queues_.size() == 1) return *queues_.front();
  // Any function of pool and object will do; this one spreads inode numbers that differ little.
  uint64_t hash = pool;
  for (const uint64_t word : oid.word) hash = (hash ^ word) * 0x9e3779b97f4a7c15;
  return *queues_[(hash >> 32) % queues_.size()];
}

int Client::Execute(Operation& operation) {
  if (dead()) return -ENOTCONN;
  return QueueOf(operation.pool, operation.oid).Execute(operation);
}

int Client::Submit(std::unique_ptr<Operation> operation) {
  if (dead()) return -ENOTCONN;
  Queue& queue = QueueOf(operation->pool, operation->oid);
  unfinished_.fetch_add(1, std::memory_order_relaxed);
  if (queue.Submit(std::move(operation))) return 0;
  CompletionRan();
  return -ENOTCONN;
}

int Client::Post(uint32_t pool, const tmem_oid& oid, uint32_t index, const std::byte* page) {
  if (dead()) return -ENOTCONN;
  Queue& queue = QueueOf(pool, oid);
  if (pool < TMEMIF_MAX_POOLS && (persistent_pools_.load(std::memory_order_relaxed) >> pool & 1)) {
    queue.CountRefusedPut();
    return 0;
  }
  return queue.Post(pool, oid, index, page) ? 0 : -ENOTCONN;
}

int Client::NewPool(const tmem_uuid& uuid, uint32_t flags) {
  Operation operation;
  operation.code = TMEMIF_OP_NEW_POOL;
  operation.new_pool.uuid[0] = uuid.word[0];
  operation.new_pool.uuid[1] = uuid.word[1];
  operation.new_pool.flags = flags | TMEMIF_SPEC_VERSION << TMEMIF_POOL_VERSION_SHIFT;
  const int pool = Execute(operation);
  if (pool < 0) return pool;
  const uint32_t bit = 1u << pool;
  if ((flags & TMEMIF_POOL_PERSIST) != 0) {
    persistent_pools_.fetch_or(bit, std::memory_order_relaxed);
  } else {
    persistent_pools_.fetch_and(~bit, std::memory_order_relaxed);
  }
  return pool;
}

int Client::DestroyPool(uint32_t pool) {
  if (const int drained = Drain(); drained != 0) return drained;
  Operation operation;
  operation.code = TMEMIF_OP_DESTROY_POOL;
  operation.pool = pool;
  return Execute(operation);
}

// ---- waiting across queues ----

int Client::CollectAll() {
  int ran = 0;
  for (const auto& queue : queues_) ran += queue->Collect();
  return ran;
}

int Client::Poll(int timeout_ms) {
  if (InCompletion()) return -EDEADLK;
  const TimePoint deadline =
      timeout_ms < 0 ? TimePoint::max() : clock_.Now() + milliseconds(timeout_ms);
  while (true) {
    const uint64_t seen = Completions();
    if (const int ran = CollectAll(); ran != 0) return ran;
    if (dead()) return -ENOTCONN;
    if (Unfinished() == 0 || (timeout_ms >= 0 && clock_.Now() >= deadline)) return 0;
    AwaitAnswers(seen, deadline);
  }
}

int Client::Drain() {
  if (InCompletion()) return -EDEADLK;
  for (const auto& queue : queues_) queue->AwaitAllAnswered();
  while (true) {
    const uint64_t seen = Completions();
    CollectAll();
    if (dead()) return -ENOTCONN;
    if (Unfinished() == 0) return 0;
    AwaitAnswers(seen, TimePoint::max());
  }
}

uint64_t Client::Completions() {
  MutexLock lock(poll_mutex_);
  return completions_;
}

void Client::CompletionRan() {
  unfinished_.fetch_sub(1, std::memory_order_release);
  CompletionsChanged();
}

void Client::CompletionWaits() { CompletionsChanged(); }

void Client::LeadIsFree() { poll_bell_.Ring(); }

void Client::CompletionsChanged() {
  bool polling;
  {
    MutexLock lock(poll_mutex_);
    ++completions_;
    polling = polling_;
  }
  poll_changed_.notify_all();
  if (polling) poll_bell_.Ring();
}

void Client::AwaitAnswers(uint64_t seen, TimePoint deadline) {
  {
    MutexLock lock(poll_mutex_);
    if (completions_ != seen) return;
    if (polling_) {
      // One thread at a time sleeps on the queues; it tells the others of what it ran.
      if (deadline == TimePoint::max()) {
        poll_changed_.wait(poll_mutex_);
      } else {
        poll_changed_.wait_until(poll_mutex_, deadline);
      }
      return;
    }
    polling_ = true;
  }
  SleepOnQueues(deadline);
  {
    MutexLock lock(poll_mutex_);
    polling_ = false;
  }
  poll_changed_.notify_all();
}

void Client::SleepOnQueues(TimePoint deadline) {
  Leads leads;
  std::array<pollfd, 1 + 2 * TMEMIF_MAX_QUEUES> waits;
  nfds_t count = 0;
  waits[count++] = {poll_bell_.fd(), POLLIN, 0};
  for (size_t i = 0; i < queues_.size(); ++i) {
    leads[i] = queues_[i]->Lead();
    if (!leads[i]) continue;
    waits[count++] = {queues_[i]->channel_fd(), POLLIN, 0};
    waits[count++] = {queues_[i]->bell_fd(), POLLIN, 0};
  }
  const TimePoint start = clock_.Now();
  bool answered = SpinOnQueues(leads, start, deadline);
  for (size_t i = 0; i < queues_.size() && !answered; ++i) answered = leads[i] && queues_[i]->Arm();
  if (!answered) {
    poll_sleeps_.fetch_add(1, std::memory_order_relaxed);
    (void)::poll(waits.data(), count, PollTimeout(clock_.Now(), deadline));
  }
  poll_spin_.Observe(clock_.Now() - start);
  poll_bell_.Silence();
  for (size_t i = 0; i < queues_.size(); ++i) {
    if (leads[i]) queues_[i]->StopLeading();
  }
}

bool Client::SpinOnQueues(const Leads& leads, TimePoint start, TimePoint deadline) const {
  const bool for_ever = config_.spin == Duration::max();
  const uint64_t unfinished = Unfinished();
  while (true) {
    for (size_t i = 0; i < queues_.size(); ++i) {
      if (leads[i] && queues_[i]->Answered(*leads[i])) return true;
    }
    if (Unfinished() != unfinished) return true;
    const TimePoint now = clock_.Now();
    if (now >= deadline || (!for_ever && now - start >= poll_spin_.window())) return false;
  }
}

tmem_stats Client::Stats() {
  tmem_stats stats{};
  for (const auto& queue : queues_) queue->AddStats(stats);
  stats.sleeps += poll_sleeps_.load(std::memory_order_relaxed);
  stats.reconnects = reconnects_.load(std::memory_order_relaxed);
  return stats;
}

}  // namespace tmem::client
