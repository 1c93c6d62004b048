// Whose memory a thread allocates.
//
// Three heaps, because of who waits for whom. The program's lies in the arena, which our thread
// serves: neither our thread nor code that holds one of our locks may allocate from it. The C
// library's is locked during fork(), which waits for our thread: our thread may not allocate from
// that either, and has one of its own, which in turn a forked child cannot use.
#ifndef TMEM_RUN_PRELOAD_THREAD_ROLE_H_
#define TMEM_RUN_PRELOAD_THREAD_ROLE_H_

#include <cstdint>

namespace tmem::run {

enum class ThreadRole : uint8_t {
  kNew,       // a thread of the program that has not allocated yet
  kProgram,   // a thread of the program, bound to its heap
  kInternal,  // a thread of the program inside our code: the C library's heap
  kService,   // a thread of ours: the service heap
};

inline constinit thread_local ThreadRole thread_role __attribute__((tls_model("initial-exec"))) =
    ThreadRole::kNew;

// A thread of the program is inside our code while one lives.
class InternalScope {
 public:
  InternalScope() : previous_(thread_role) { thread_role = ThreadRole::kInternal; }
  ~InternalScope() { thread_role = previous_; }
  InternalScope(const InternalScope&) = delete;
  InternalScope& operator=(const InternalScope&) = delete;

 private:
  const ThreadRole previous_;
};

}  // namespace tmem::run

#endif  // TMEM_RUN_PRELOAD_THREAD_ROLE_H_
