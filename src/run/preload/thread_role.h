// Whose memory a thread allocates: the program's (from the arena) or ours (from the C library).
//
// The fault loop serves the arena, so neither it nor code that holds one of our locks may
// allocate from it. A thread of the program becomes ours for the length of an InternalScope.
#ifndef TMEM_RUN_PRELOAD_THREAD_ROLE_H_
#define TMEM_RUN_PRELOAD_THREAD_ROLE_H_

#include <cstdint>

namespace tmem::run {

enum class ThreadRole : uint8_t {
  kNew,       // a thread of the program that has not allocated yet
  kProgram,   // a thread of the program, bound to its heap
  kInternal,  // one of ours, or the program's inside our code
};

inline constinit thread_local ThreadRole thread_role __attribute__((tls_model("initial-exec"))) =
    ThreadRole::kNew;

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
