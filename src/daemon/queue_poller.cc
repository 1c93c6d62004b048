#include "daemon/queue_poller.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

namespace tmem::daemon {

namespace {

// Events taken from the kernel at once; more stay for the next call.
constexpr int kEventsAtOnce = 64;

int Milliseconds(Duration duration) {
  return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(duration).count());
}

}  // namespace

Result<std::unique_ptr<QueuePoller>> QueuePoller::Create(const Clock& clock) {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return std::unexpected(SystemError("epoll_create1"));
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return std::unexpected(SystemError("eventfd"));
  epoll_event event{.events = EPOLLIN, .data = {.fd = wake.get()}};
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) {
    return std::unexpected(SystemError("epoll_ctl"));
  }
  return std::unique_ptr<QueuePoller>(new QueuePoller(clock, std::move(epoll), std::move(wake)));
}

void QueuePoller::Add(std::shared_ptr<Queue> queue) {
  queues_.push_back({.queue = std::move(queue)});
  Listen(queues_.back());
}

void QueuePoller::Remove(const Queue& queue) {
  const auto at = std::ranges::find_if(
      queues_, [&](const Entry& entry) { return entry.queue.get() == &queue; });
  if (at == queues_.end()) return;
  if (at->listening) Mute(*at);
  queues_.erase(at);
}

bool QueuePoller::Round(PageCodec& codec) {
  bool worked = false;
  for (Entry& entry : queues_) worked |= Turn(entry, codec);
  return worked;
}

bool QueuePoller::Turn(Entry& entry, PageCodec& codec) {
  if (entry.broken) return false;
  const uint64_t before = entry.queue->requests();
  const auto outcome = entry.queue->Process(codec, kTurnBudget, &times_);
  if (outcome == Queue::Turn::kBroken) {
    entry.broken = true;
    if (entry.listening) Mute(entry);
    return true;
  }
  if (entry.queue->requests() == before && outcome == Queue::Turn::kIdle) return false;
  entry.armed = false;
  entry.vain_wakes = 0;
  return true;
}

bool QueuePoller::Arm() {
  for (Entry& entry : queues_) {
    if (entry.broken || entry.armed) continue;
    if (entry.queue->Arm()) return false;
    entry.armed = true;
  }
  return true;
}

void QueuePoller::Sleep() {
  const int timeout = ListenAgain() ? -1 : Milliseconds(kMuteTime);
  std::array<epoll_event, kEventsAtOnce> events;
  const int count = ::epoll_wait(epoll_.get(), events.data(), kEventsAtOnce, timeout);
  for (int i = 0; i < count; ++i) {
    const int fd = events[static_cast<size_t>(i)].data.fd;
    if (fd == wake_.get()) {
      eventfd_t ignored;
      (void)::eventfd_read(fd, &ignored);
    } else if (Entry* const entry = Find(fd)) {
      OnNotification(*entry);
    }
  }
}

void QueuePoller::Wake() { (void)::eventfd_write(wake_.get(), 1); }

void QueuePoller::OnNotification(Entry& entry) {
  entry.queue->Acknowledge();
  if (++entry.vain_wakes > kVainWakesTolerated) Mute(entry);
}

// If the kernel has no room for the watch, the queue counts as muted: it is looked at every
// kMuteTime, and the watch is tried again.
void QueuePoller::Listen(Entry& entry) {
  const int fd = entry.queue->event_fd();
  epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
  entry.listening = ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  if (!entry.listening) entry.muted_until = clock_.Now() + kMuteTime;
}

void QueuePoller::Mute(Entry& entry) {
  (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, entry.queue->event_fd(), nullptr);
  entry.listening = false;
  entry.muted_until = clock_.Now() + kMuteTime;
}

// Listens to the muted queues whose time is over. True if none is muted any more.
bool QueuePoller::ListenAgain() {
  bool all = true;
  for (Entry& entry : queues_) {
    if (entry.listening || entry.broken) continue;
    if (clock_.Now() >= entry.muted_until) Listen(entry);
    all &= entry.listening;
  }
  return all;
}

QueuePoller::Entry* QueuePoller::Find(int event_fd) {
  const auto at = std::ranges::find_if(
      queues_, [&](const Entry& entry) { return entry.queue->event_fd() == event_fd; });
  return at == queues_.end() ? nullptr : &*at;
}

}  // namespace tmem::daemon
