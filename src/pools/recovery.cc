#include "pools/recovery.h"

#include <algorithm>
#include <utility>

namespace tmem {

namespace {
// A guest with fewer segments is found sooner by one thread than others could start.
constexpr size_t kSegmentsWorthAThread = 16;
}  // namespace

Recovery::Recovery(std::vector<Job> jobs, uint32_t threads)
    : waiting_(std::move(jobs)), guests_(static_cast<uint32_t>(waiting_.size())) {
  MutexLock lock(mutex_);
  std::ranges::sort(waiting_, std::greater(), [](const Job& job) { return job.segments.size(); });
  for (const Job& job : waiting_) {
    not_ready_.insert(job.guest->id());
    segments_ += job.segments.size();
  }
  if (!waiting_.empty()) thread_ = std::thread([this, threads] { Run(threads); });
}

Recovery::~Recovery() {
  stopping_.store(true, std::memory_order_relaxed);
  if (thread_.joinable()) thread_.join();
}

bool Recovery::IsReady(GuestId guest) const {
  MutexLock lock(mutex_);
  return !not_ready_.contains(guest);
}

std::optional<Recovery::Job> Recovery::Withdraw(GuestId guest) {
  MutexLock lock(mutex_);
  const auto at =
      std::ranges::find(waiting_, guest, [](const Job& job) { return job.guest->id(); });
  if (at != waiting_.end()) {
    Job job = std::move(*at);
    waiting_.erase(at);
    not_ready_.erase(guest);
    ++guests_ready_;
    segments_searched_.fetch_add(job.segments.size(), std::memory_order_relaxed);
    return job;
  }
  while (not_ready_.contains(guest)) changed_.wait(mutex_);
  return std::nullopt;
}

RecoveryProgress Recovery::progress() const {
  MutexLock lock(mutex_);
  return {.guests = guests_,
          .guests_ready = guests_ready_,
          .segments = Bytes(segments_ * kSegmentSize),
          .searched = Bytes(segments_searched_.load(std::memory_order_relaxed) * kSegmentSize),
          .pages = pages_.load(std::memory_order_relaxed)};
}

std::optional<Recovery::Job> Recovery::Next() {
  MutexLock lock(mutex_);
  if (waiting_.empty() || stopping()) return std::nullopt;
  Job job = std::move(waiting_.back());
  waiting_.pop_back();
  return job;
}

void Recovery::Run(uint32_t threads) {
  while (auto job = Next()) {
    Find(*job, threads);
    if (stopping()) return;
    {
      MutexLock lock(mutex_);
      not_ready_.erase(job->guest->id());
      ++guests_ready_;
    }
    changed_.notify_all();
  }
}

void Recovery::Find(const Job& job, uint32_t threads) {
  Keyspace& keyspace = job.guest->keyspace();
  keyspace.RestoreObjects(job.blocks, job.guest->PrivatePools());

  std::atomic<size_t> next{0};
  std::vector<std::thread> helpers;
  const auto useful = static_cast<uint32_t>(job.segments.size() / kSegmentsWorthAThread);
  for (uint32_t i = 1; i < std::min(threads, useful); ++i) {
    helpers.emplace_back([&] { FindPages(job, next); });
  }
  FindPages(job, next);
  for (std::thread& helper : helpers) helper.join();
  if (stopping()) return;

  std::vector<Arena::Survivor> by_age = job.segments;
  std::ranges::sort(by_age, {}, &Arena::Survivor::opened);
  for (const Arena::Survivor& segment : by_age) keyspace.RestoreSlots(segment);
  keyspace.FinishRestoring();
}

void Recovery::FindPages(const Job& job, std::atomic<size_t>& next) {
  const auto classes = job.guest->PoolClasses();
  for (size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < job.segments.size();) {
    if (stopping()) return;
    const uint64_t found =
        job.guest->keyspace().RestorePages(job.segments[i], classes, job.guest->ledger());
    pages_.fetch_add(found, std::memory_order_relaxed);
    segments_searched_.fetch_add(1, std::memory_order_relaxed);
  }
}

}  // namespace tmem
