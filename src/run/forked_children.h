// Forked children of the program: they see the arena as it was at the fork.
//
// The kernel gives a child the pages that were in memory (copy on write, as always) and us a
// userfaultfd for the rest: the parent's fault loop fills those in from the copies of that time,
// which Backing keeps while a child may need them. Pages of children are not evicted; children
// that exec at once, as nearly all do, never have many.
//
// A child depends on its parent: when the parent exits, CompleteAll() gives each child everything
// it may still need; when the parent is killed, the guardian kills the children, because the
// kernel would otherwise let them read zeros.
//
// Owned by the fault loop's thread.
#ifndef TMEM_RUN_FORKED_CHILDREN_H_
#define TMEM_RUN_FORKED_CHILDREN_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "run/backing.h"
#include "run/counters.h"
#include "run/guardian.h"
#include "run/page_table.h"
#include "run/residency.h"
#include "run/uffd_space.h"

namespace tmem::run {

class ForkedChild {
 public:
  // `view` is the page table at the fork: of its kEvicted entries the copies are kept.
  ForkedChild(std::unique_ptr<UffdSpace> space, std::vector<PageEntry> view)
      : space_(std::move(space)), view_(std::move(view)) {}

  UffdSpace& space() { return *space_; }
  std::span<const PageEntry> view() const { return view_; }

 private:
  friend class ForkedChildren;

  const std::unique_ptr<UffdSpace> space_;
  std::vector<PageEntry> view_;
};

class ForkedChildren {
 public:
  // What a child finds on the hello page if its faults are served; zeros if they are not.
  static constexpr uint64_t kHello = 0x746d656d72756e21;

  // `guardian` may be null: nobody watches then.
  ForkedChildren(const PageTable& table, Backing& backing, Counters& counters, Guardian* guardian,
                 uint32_t read_ahead_pages, FatalHandler fatal);

  // A child of `parent` (null: of the program itself), which is just being forked.
  ForkedChild& Add(UniqueFd fd, const UffdSpace& parent_space, const ForkedChild* parent);

  void OnMessage(ForkedChild& child, const UffdMessage& message);

  // Lets go the children that have exited or called exec, and their copies.
  void RemoveDead();

  // Gives every child all it may need, so that it can live without us.
  void CompleteAll();

  bool empty() const { return children_.empty(); }
  // In no order; stays valid until the next Add() or RemoveDead().
  const std::vector<std::unique_ptr<ForkedChild>>& all() const { return children_; }

 private:
  void SayHello(ForkedChild& child, uint32_t process);
  void FillFromCopies(ForkedChild& child, PageRun run);
  void Complete(ForkedChild& child);

  const PageTable& table_;
  Backing& backing_;
  Counters& counters_;
  Guardian* const guardian_;
  const uint32_t read_ahead_pages_;
  const FatalHandler fatal_;
  std::vector<std::unique_ptr<ForkedChild>> children_;
  std::vector<std::byte> buffer_;
};

}  // namespace tmem::run

#endif  // TMEM_RUN_FORKED_CHILDREN_H_
