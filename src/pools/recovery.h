// Finds the pages again that a process before this one left: for one guest after the other, the
// smallest first, with several threads at each. A guest is ready as soon as its own pages are
// found.
//
// Threads: its own, from construction on; all methods may be called by any thread.
#ifndef TMEM_POOLS_RECOVERY_H_
#define TMEM_POOLS_RECOVERY_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "pools/arena.h"
#include "pools/guest.h"
#include "pools/object_records.h"
#include "pools/stats.h"

namespace tmem {

class Recovery {
 public:
  // One guest: all that the records say belongs to it. Its keyspace is new.
  struct Job {
    std::shared_ptr<Guest> guest;
    std::vector<ObjectBlock*> blocks;       // in the order of their ordinals
    std::vector<Arena::Survivor> segments;  // counted with its stake
  };

  // REQUIRES: threads > 0.
  Recovery(std::vector<Job> jobs, uint32_t threads);
  // Stops in the middle if need be: what was not found stays for the next process.
  ~Recovery();
  Recovery(const Recovery&) = delete;
  Recovery& operator=(const Recovery&) = delete;

  // True for guests that it never had to do with.
  bool IsReady(GuestId guest) const;
  // The guest's pages are not wanted any more: its job, if it was not begun. Otherwise nullopt,
  // once the guest is ready.
  std::optional<Job> Withdraw(GuestId guest);

  RecoveryProgress progress() const;

 private:
  void Run(uint32_t threads);
  std::optional<Job> Next();
  void Find(const Job& job, uint32_t threads);
  void FindPages(const Job& job, std::atomic<size_t>& next);
  bool stopping() const { return stopping_.load(std::memory_order_relaxed); }

  mutable Mutex mutex_{LockRank::kLeaf};
  std::condition_variable_any changed_;
  std::vector<Job> waiting_ TMEM_GUARDED_BY(mutex_);  // the largest first
  std::set<GuestId> not_ready_ TMEM_GUARDED_BY(mutex_);
  uint32_t guests_ready_ TMEM_GUARDED_BY(mutex_) = 0;

  const uint32_t guests_;
  uint64_t segments_ = 0;  // constant after construction
  // Progress, for people: relaxed.
  std::atomic<uint64_t> segments_searched_{0};
  std::atomic<uint64_t> pages_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace tmem

#endif  // TMEM_POOLS_RECOVERY_H_
