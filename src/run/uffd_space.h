// The real AddressSpace: the arena of a process, through userfaultfd (missing and write-protect).
//
// One is opened for the own process; the kernel hands over another for each forked child.
//
// Threads: the fault loop's thread only, except where noted.
#ifndef TMEM_RUN_UFFD_SPACE_H_
#define TMEM_RUN_UFFD_SPACE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "run/address_space.h"

struct uffd_msg;  // <linux/userfaultfd.h>

namespace tmem::run {

// Something that happened in a process.
struct UffdMessage {
  enum class Kind { kMissing, kWriteProtected, kFork };
  Kind kind = Kind::kMissing;
  uint32_t page = 0;  // not for kFork
  bool write = false;
  uint32_t thread = 0;  // the faulting thread's id; not for kFork
  UniqueFd child;       // kFork: the child's userfaultfd
};

class UffdSpace final : public AddressSpace {
 public:
  // Takes over the arena of this process: `pages` pages of anonymous private memory from `base`
  // on. Fails with a message that says what to do where the kernel does not allow it.
  static Result<std::unique_ptr<UffdSpace>> Open(std::byte* base, uint32_t pages);

  // The same arena in a forked child, from the descriptor that came with the message.
  UffdSpace(UniqueFd fd, std::byte* base, uint32_t pages, bool own);

  // Called again and again while an operation waits for a fork of the process to finish: it must
  // read the messages of this space, or the fork never does.
  void set_on_fork_pending(std::function<void()> callback) {
    on_fork_pending_ = std::move(callback);
  }

  // The kernel tells of forks and serves the children. Otherwise a child has no arena.
  bool follows_forks() const { return follows_forks_; }

  int fd() const { return fd_.get(); }
  std::byte* base() const { return base_; }
  uint32_t pages() const { return pages_; }

  // The messages that wait, some of them if they are many. Empty if there are none.
  std::vector<UffdMessage> Read();

  // False once the process has exited or replaced its memory by exec.
  bool Alive() const;

  Filled Fill(PageRun run, const std::byte* content, bool protect) override;
  bool Protect(PageRun run) override;
  void Unprotect(PageRun run) override;
  bool Drop(PageRun run) override;  // REQUIRES: the own process
  void Wake(PageRun run) override;
  const std::byte* Bytes(PageRun run) const override { return AddressOf(run.first); }

 private:
  UffdMessage Parse(const uffd_msg& raw) const;
  std::byte* AddressOf(uint32_t page) const;
  int WriteProtect(PageRun run, uint64_t mode);

  const UniqueFd fd_;
  std::byte* const base_;
  const uint32_t pages_;
  const bool own_;
  bool follows_forks_ = true;
  std::function<void()> on_fork_pending_;
};

}  // namespace tmem::run

#endif  // TMEM_RUN_UFFD_SPACE_H_
