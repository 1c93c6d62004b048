#include "run/page_table.h"

#include <sys/mman.h>

#include <new>

namespace tmem::run {

namespace {

// Straight from the kernel: a gigabyte of entries costs nothing until used, and starts as zeros,
// which is what a kEmpty entry is.
PageEntry* MapEntries(uint32_t pages) {
  static_assert(static_cast<uint32_t>(PageState::kEmpty) == 0 &&
                static_cast<uint32_t>(CopyKind::kNone) == 0);
  void* const memory = ::mmap(nullptr, pages * sizeof(PageEntry), PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return static_cast<PageEntry*>(memory);
}

}  // namespace

PageTable::PageTable(uint32_t pages) : size_(pages), entries_(MapEntries(pages)) {}

PageTable::~PageTable() { ::munmap(entries_, size_ * sizeof(PageEntry)); }

}  // namespace tmem::run
