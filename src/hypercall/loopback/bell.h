// An eventfd that makes another thread's poll return. Never handed to another process: there, who
// shares it could make a write block (wire.h).
//
// Threads: any.
#ifndef TMEM_HYPERCALL_LOOPBACK_BELL_H_
#define TMEM_HYPERCALL_LOOPBACK_BELL_H_

#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"

namespace tmem::loopback {

class Bell {
 public:
  static Result<Bell> Create();
  int fd() const { return fd_.get(); }  // readable while rung
  void Ring() const;
  void Silence() const;

 private:
  explicit Bell(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace tmem::loopback

#endif  // TMEM_HYPERCALL_LOOPBACK_BELL_H_
