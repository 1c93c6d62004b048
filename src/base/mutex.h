// Mutexes that clang's thread-safety analysis understands, with a written rank.
//
// Rank rule: a thread takes locks in strictly rising rank, so no cycle of waiting can form. Debug
// builds check it on every lock() and abort on a breach; release builds carry no cost. Two locks of
// one rank are held together only by try_lock().
#ifndef TMEM_BASE_MUTEX_H_
#define TMEM_BASE_MUTEX_H_

#include <cstdint>
#include <mutex>

#if defined(__clang__)
#define TMEM_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define TMEM_THREAD_ATTRIBUTE(x)
#endif

#define TMEM_GUARDED_BY(x) TMEM_THREAD_ATTRIBUTE(guarded_by(x))
#define TMEM_REQUIRES(...) TMEM_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define TMEM_EXCLUDES(...) TMEM_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define TMEM_NO_THREAD_SAFETY_ANALYSIS TMEM_THREAD_ATTRIBUTE(no_thread_safety_analysis)

namespace tmem {

// Outermost first. A name says what the lock protects.
enum class LockRank : uint8_t {
  kControl,    // daemon, connections, configuration: never on the data path
  kDirectory,  // the loopback tree and its watches
  kGuests,     // the store's table of guests and shared pools
  kEnding,     // one guest's pools, destroyed by one call at a time
  kSharing,    // guests leaving one shared pool, one at a time
  kPools,      // pool tables, changed by NEW_POOL and DESTROY_POOL only
  kPartition,  // objects of one partition: one is held by a page operation
  kNodes,      // memory of one keyspace's page trees
  kHeap,       // slots of one heap
  kArena,      // free segments and capacity
  kLeaf,       // anything that takes no further lock
};

class TMEM_THREAD_ATTRIBUTE(capability("mutex")) Mutex {
 public:
  explicit Mutex(LockRank rank) : rank_(rank) {}
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() TMEM_THREAD_ATTRIBUTE(acquire_capability()) {
    CheckRank();
    mutex_.lock();
    NoteLocked();
  }
  // False, at once, if another thread has it. Whoever never waits cannot wait in a cycle: ranks do
  // not bind here.
  bool try_lock() TMEM_THREAD_ATTRIBUTE(try_acquire_capability(true)) {
    if (!mutex_.try_lock()) return false;
    NoteLocked();
    return true;
  }
  void unlock() TMEM_THREAD_ATTRIBUTE(release_capability()) {
    NoteUnlocked();
    mutex_.unlock();
  }

 private:
#ifdef NDEBUG
  void CheckRank() const {}
  void NoteLocked() const {}
  void NoteUnlocked() const {}
#else
  void CheckRank() const;
  void NoteLocked() const;
  void NoteUnlocked() const;
#endif

  std::mutex mutex_;
  [[maybe_unused]] const LockRank rank_;
};

// Holds a Mutex for its own lifetime.
class TMEM_THREAD_ATTRIBUTE(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) TMEM_THREAD_ATTRIBUTE(acquire_capability(mutex))
      : mutex_(mutex) {
    mutex_.lock();
  }
  ~MutexLock() TMEM_THREAD_ATTRIBUTE(release_capability()) { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace tmem

#endif  // TMEM_BASE_MUTEX_H_
