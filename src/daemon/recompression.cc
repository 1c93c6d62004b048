#include "daemon/recompression.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <mutex>

namespace tmem::daemon {

namespace {

constexpr int kNiceness = 10;
// Clocks can be asked to wait for too long a time.
constexpr Duration kLongestSleep = std::chrono::hours(1);

}  // namespace

Recompression::Recompression(Store& store, const Clock& clock, const PageCodec::Config& config)
    : store_(store), clock_(clock), codec_(config) {
  store_.OnBacklog([this] { Wake(); });
  thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
}

Recompression::~Recompression() = default;

void Recompression::Wake() {
  {
    MutexLock lock(mutex_);
    woken_ = true;
  }
  changed_.notify_one();
}

void Recompression::Run(const std::stop_token& stop) {
  (void)setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNiceness);  // of this thread alone
  while (!stop.stop_requested()) {
    const TimePoint due = store_.Recompress(clock_.Now(), codec_);
    SleepUntil(due, stop);
  }
}

void Recompression::SleepUntil(TimePoint due, const std::stop_token& stop) {
  const Duration left = std::min(due - clock_.Now(), kLongestSleep);
  if (left <= Duration(0)) return;
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, stop, left, [this]() TMEM_NO_THREAD_SAFETY_ANALYSIS { return woken_; });
  woken_ = false;
}

}  // namespace tmem::daemon
