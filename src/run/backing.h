// Where evicted pages go: a persistent pool of tmemd, and the spill file for what it refuses.
//
// Copies are immutable while a forked child may need them: Freeze() starts a new generation, whose
// pages lie in an object of their own, and keeps every older copy, forgotten or not, until Thaw().
//
// Owned by the fault loop's thread. The object of generation g is {g, 0, 0}; a page's index in it
// is its number in the arena.
#ifndef TMEM_RUN_BACKING_H_
#define TMEM_RUN_BACKING_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "client/tmem_client.h"
#include "run/counters.h"
#include "run/page_table.h"
#include "run/spill_file.h"

namespace tmem::run {

class Backing {
 public:
  // Pages handled at once, at most; a mask of pages is a uint64_t, bit k for page k of the run.
  static constexpr uint32_t kMaxRun = TMEM_MAX_BATCH;

  // `pool` is a persistent pool of `client`, which must outlive this.
  Backing(tmem_client* client, int pool, std::optional<SpillFile> spill, Counters& counters);

  // Stores the pages and writes their copies to `copies`. Returns those stored; the others have no
  // copy, not even an older one of this generation.
  uint64_t Store(PageRun run, const std::byte* content, std::span<Copy> copies);

  // Reads pages whose copies have one kind, and one generation if in the pool. Returns those read.
  uint64_t Load(PageRun run, std::span<const Copy> copies, std::byte* content);

  // The page's content is not wanted any more, or has a newer copy elsewhere.
  void Forget(uint32_t page, Copy copy);
  // The same for many; cheaper for neighbours.
  void Forget(PageRun run, std::span<const Copy> copies);

  // A store of `page` replaces or removes this copy by itself.
  bool IsReplacedByStore(Copy copy) const {
    return copy.kind == CopyKind::kPool && copy.where == generation_;
  }

  void Freeze();
  void Thaw();

 private:
  uint64_t StoreInPool(PageRun run, const std::byte* content);
  bool IsFrozen(Copy copy) const;

  tmem_client* const client_;
  const int pool_;
  std::optional<SpillFile> spill_;
  Counters& counters_;
  uint32_t generation_ = 0;
  bool frozen_ = false;                               // generations below generation_ are kept
  std::vector<uint32_t> slot_generation_;             // of each spill slot, when it was written
  std::vector<std::pair<uint32_t, Copy>> forgotten_;  // to remove at Thaw()
};

}  // namespace tmem::run

#endif  // TMEM_RUN_BACKING_H_
