// The thread that compresses what guests put, a little later: Store::Recompress, called whenever
// there is something to do. It yields to the workers: a worker's guest waits, this thread's do not.
//
// Threads: made and ended by the control thread. The store tells it of work from any thread.
#ifndef TMEM_DAEMON_RECOMPRESSION_H_
#define TMEM_DAEMON_RECOMPRESSION_H_

#include <condition_variable>
#include <thread>

#include "base/clock.h"
#include "base/mutex.h"
#include "compress/page_codec.h"
#include "pools/store.h"

namespace tmem::daemon {

class Recompression {
 public:
  // REQUIRES: no guest is served yet; store and clock outlive this, and nobody puts after its end.
  Recompression(Store& store, const Clock& clock, const PageCodec::Config& config);
  ~Recompression();
  Recompression(const Recompression&) = delete;
  Recompression& operator=(const Recompression&) = delete;

  // Looks for work now: settings have changed.
  void Wake();

 private:
  void Run(const std::stop_token& stop);
  void SleepUntil(TimePoint due, const std::stop_token& stop) TMEM_NO_THREAD_SAFETY_ANALYSIS;

  Store& store_;
  const Clock& clock_;
  PageCodec codec_;  // of the thread

  Mutex mutex_{LockRank::kLeaf};
  std::condition_variable_any changed_;
  bool woken_ TMEM_GUARDED_BY(mutex_) = false;

  std::jthread thread_;  // last: runs while all of the above exists
};

}  // namespace tmem::daemon

#endif  // TMEM_DAEMON_RECOMPRESSION_H_
