// What tmemrun knows of each page of the arena.
//
// The arena is one reservation of address space; a page is known by its number in it. Owned by the
// fault loop's thread: nothing here is locked.
//
// Invariants, for every page:
//   kEmpty    absent from memory, reads as zeros, no copy
//   kDirty    present, writable; a copy, if there is one, is stale (kept until replaced or dropped)
//   kClean    present, write-protected, and equal to its copy
//   kEvicted  absent, its content is its copy
#ifndef TMEM_RUN_PAGE_TABLE_H_
#define TMEM_RUN_PAGE_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace tmem::run {

// Consecutive pages of the arena.
struct PageRun {
  uint32_t first = 0;
  uint32_t count = 0;
  uint32_t end() const { return first + count; }
  bool operator==(const PageRun&) const = default;
};

enum class PageState : uint32_t { kEmpty, kDirty, kClean, kEvicted };

// Where a page's content lies outside of memory.
enum class CopyKind : uint32_t { kNone, kPool, kSpill };

struct Copy {
  CopyKind kind = CopyKind::kNone;
  uint32_t where = 0;  // kPool: generation of the object; kSpill: slot in the file
  bool operator==(const Copy&) const = default;
};

struct PageEntry {
  static constexpr uint32_t kMaxCredit = 3;
  static constexpr uint32_t kStampBits = 24;

  uint32_t where = 0;
  uint32_t stamp : kStampBits = 0;  // evictions so far when this page was evicted, wrapping
  uint32_t credit : 2 = 0;          // laps the clock hand still grants
  uint32_t rewritten : 1 = 0;       // was written after it came back
  uint32_t pinned : 1 = 0;          // not to be evicted
  PageState state : 2 = PageState::kEmpty;
  CopyKind kind : 2 = CopyKind::kNone;

  Copy copy() const { return {kind, where}; }
  void set_copy(Copy copy) {
    kind = copy.kind;
    where = copy.where;
  }
  bool resident() const { return state == PageState::kDirty || state == PageState::kClean; }
};
static_assert(sizeof(PageEntry) == 8 && std::is_trivially_copyable_v<PageEntry>);

class PageTable {
 public:
  // Room for `pages` entries, all kEmpty. Memory is taken as entries are written.
  explicit PageTable(uint32_t pages);
  ~PageTable();
  PageTable(const PageTable&) = delete;
  PageTable& operator=(const PageTable&) = delete;

  uint32_t size() const { return size_; }

  const PageEntry& operator[](uint32_t page) const { return entries_[page]; }
  // For writing: remembers how far the table has been used.
  PageEntry& Touch(uint32_t page) {
    if (page >= used_) used_ = page + 1;
    return entries_[page];
  }

  // The entries ever touched; all others are kEmpty.
  std::span<const PageEntry> used() const { return {entries_, used_}; }

 private:
  const uint32_t size_;
  PageEntry* const entries_;
  uint32_t used_ = 0;
};

}  // namespace tmem::run

#endif  // TMEM_RUN_PAGE_TABLE_H_
