#include "daemon/worker_pool.h"

#include <algorithm>
#include <future>
#include <system_error>
#include <utility>

namespace tmem::daemon {

namespace {

// Tells the processor that this is a polling loop, so that its sibling thread gets the units.
void Relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

Worker::Worker(const Clock& clock, const WorkerConfig& config, std::unique_ptr<QueuePoller> poller)
    : clock_(clock),
      poller_(std::move(poller)),
      codec_({.zstd_level = config.zstd_level}),
      spin_(config.spin_limit),
      thread_([this] { Run(); }) {}

Worker::~Worker() {
  Post([](Worker& worker) { worker.stopping_ = true; });
  thread_.join();
}

void Worker::Post(Task task) {
  {
    const MutexLock lock(mutex_);
    tasks_.push_back(std::move(task));
    has_tasks_.store(true, std::memory_order_relaxed);
  }
  poller_->Wake();
}

void Worker::Call(const Task& task) {
  std::promise<void> done;
  Post([&](Worker& worker) {
    task(worker);
    done.set_value();
  });
  done.get_future().wait();
}

void Worker::Configure(const WorkerConfig& config) {
  spin_.SetLimit(config.spin_limit);
  codec_ = PageCodec({.zstd_level = config.zstd_level});
}

void Worker::RunTasks() {
  // Relaxed: a task that is missed here has written to the poller's wake-up, which ends the sleep
  // that would follow.
  if (!has_tasks_.load(std::memory_order_relaxed)) return;
  std::vector<Task> tasks;
  {
    const MutexLock lock(mutex_);
    tasks.swap(tasks_);
    has_tasks_.store(false, std::memory_order_relaxed);
  }
  for (Task& task : tasks) {
    task(*this);
    task = nullptr;  // lets go of what it holds, a queue maybe, before the next one runs
  }
}

void Worker::Run() {
  while (true) {
    RunTasks();
    if (stopping_) return;
    Serve();
  }
}

// One round if there is work. If not: polls for the window, then sleeps, until there is work or a
// task. The clock is read while idle only.
void Worker::Serve() {
  if (poller_->Round(codec_)) return;
  const TimePoint idle_since = clock_.Now();
  bool slept = false;
  while (!has_tasks_.load(std::memory_order_relaxed)) {
    if (!slept && !poller_->empty() && clock_.Now() - idle_since < spin_.window()) {
      Relax();
    } else if (poller_->Arm()) {
      poller_->Sleep();
      slept = true;
    }
    const Duration idle = clock_.Now() - idle_since;
    if (poller_->Round(codec_)) {
      spin_.Observe(idle);
      return;
    }
  }
}

Result<std::unique_ptr<WorkerPool>> WorkerPool::Create(uint32_t count, const WorkerConfig& config,
                                                       const Clock& clock) {
  std::unique_ptr<WorkerPool> pool(new WorkerPool);
  for (uint32_t i = 0; i < count; ++i) {
    auto poller = QueuePoller::Create(clock);
    if (!poller) return std::unexpected(std::move(poller).error().Within("worker"));
    try {
      pool->workers_.push_back(
          {.worker = std::make_unique<Worker>(clock, config, std::move(*poller))});
    } catch (const std::system_error& error) {
      return std::unexpected(SystemError("cannot start a worker thread", error.code().value()));
    }
  }
  return pool;
}

void WorkerPool::Attach(std::shared_ptr<Queue> queue) {
  Slot& home = *std::ranges::min_element(workers_, {}, &Slot::queues);
  ++home.queues;
  homes_[queue.get()] = &home;
  home.worker->Post([queue = std::move(queue)](Worker& worker) { worker.poller().Add(queue); });
}

void WorkerPool::Detach(const Queue& queue) {
  const auto at = homes_.find(&queue);
  if (at == homes_.end()) return;
  Slot& home = *at->second;
  home.worker->Call([&queue](Worker& worker) { worker.poller().Remove(queue); });
  --home.queues;
  homes_.erase(at);
}

void WorkerPool::Configure(const WorkerConfig& config) {
  for (const Slot& slot : workers_) {
    slot.worker->Post([config](Worker& worker) { worker.Configure(config); });
  }
}

bool WorkerPool::Responsive() {
  bool all = true;
  for (const Slot& slot : workers_) {
    // Relaxed: nothing is published with it.
    if (!slot.answered->exchange(false, std::memory_order_relaxed)) {
      all = false;  // its last question still waits
      continue;
    }
    slot.worker->Post(
        [answered = slot.answered](Worker&) { answered->store(true, std::memory_order_relaxed); });
  }
  return all;
}

OperationTimes::Snapshot WorkerPool::Times() const {
  OperationTimes::Snapshot all{};
  for (const Slot& slot : workers_) {
    const auto times = slot.worker->times().Take();
    for (size_t i = 0; i < all.size(); ++i) all[i] += times[i];
  }
  return all;
}

uint32_t DefaultWorkers() {
  const uint32_t processors = std::thread::hardware_concurrency();
  return std::max(processors, 2u) - 1;
}

}  // namespace tmem::daemon
