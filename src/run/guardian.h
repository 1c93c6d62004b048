// A small process that outlives the program if it is killed, for the sake of its forked children.
//
// A child's missing pages come from its parent's fault loop. If the parent dies without having
// served its children to the end, the kernel would let them read zeros; the guardian, which holds
// their userfaultfd too, kills them instead. It ends with the program otherwise.
//
// Start() before the program has threads; the rest from the fault loop's thread.
#ifndef TMEM_RUN_GUARDIAN_H_
#define TMEM_RUN_GUARDIAN_H_

#include <sys/types.h>

#include <cstddef>
#include <memory>

#include "base/result.h"
#include "base/unique_fd.h"

namespace tmem::run {

class Guardian {
 public:
  // Starts the process. It is no child of the program (wait() never sees it), holds none of its
  // descriptors and belongs to a session of its own. `arena` is any page of the arena.
  static Result<std::unique_ptr<Guardian>> Start(const std::byte* arena);

  // From its return on the child does not survive us, unless Release() is called or it execs.
  // `uffd` is the child's userfaultfd. Does nothing if `child` is no descendant of this process.
  void Watch(int uffd, pid_t child);

  // The children watched so far need us no more.
  void Release();

  // The descriptor to keep when all others of a thread are closed.
  int fd() const { return socket_.get(); }

 private:
  explicit Guardian(UniqueFd socket) : socket_(std::move(socket)) {}

  bool Ask(int uffd, pid_t child);

  UniqueFd socket_;
};

}  // namespace tmem::run

#endif  // TMEM_RUN_GUARDIAN_H_
