// An address space in memory: what userfaultfd does, without threads, and a program that touches
// it. Its faults go to a Residency in the same thread.
#ifndef TMEM_TESTS_RUN_FAKE_SPACE_H_
#define TMEM_TESTS_RUN_FAKE_SPACE_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <set>
#include <vector>

#include "base/units.h"
#include "run/address_space.h"

namespace tmem::run {

class FakeSpace final : public AddressSpace {
 public:
  explicit FakeSpace(uint32_t pages) : pages_(pages), bytes_(pages * kPageSize) {}

  // Called when the program faults, as the fault loop would.
  std::function<void(uint32_t page, bool write)> on_missing;
  std::function<void(uint32_t page)> on_write_protected;

  // What the program does: a word at the start of each page stands for its content.
  uint64_t Read(uint32_t page) {
    Access(page, false);
    uint64_t value = 0;
    std::memcpy(&value, &bytes_[page * kPageSize], sizeof value);
    return value;
  }
  void Write(uint32_t page, uint64_t value) {
    Access(page, true);
    std::memcpy(&bytes_[page * kPageSize], &value, sizeof value);
  }

  // The page cannot be dropped from now on (mlock).
  void Lock(uint32_t page) { locked_.insert(page); }

  bool IsPresent(uint32_t page) const { return pages_[page].present; }
  bool IsProtected(uint32_t page) const { return pages_[page].is_protected; }
  uint32_t present() const {
    uint32_t count = 0;
    for (const Page& page : pages_) count += page.present ? 1 : 0;
    return count;
  }

  Filled Fill(PageRun run, const std::byte* content, bool protect) override {
    for (uint32_t k = 0; k < run.count; ++k) {
      Page& page = pages_.at(run.first + k);
      if (page.present) return {k, FillResult::kPresent};
      page = {.present = true, .is_protected = protect};
      std::memcpy(&bytes_[(run.first + k) * kPageSize], content + k * kPageSize, kPageSize);
    }
    return {run.count, FillResult::kFilled};
  }

  bool Protect(PageRun run) override {
    for (uint32_t page = run.first; page < run.end(); ++page) {
      pages_.at(page).is_protected = pages_[page].present;
    }
    return true;
  }

  void Unprotect(PageRun run) override {
    for (uint32_t page = run.first; page < run.end(); ++page) pages_.at(page).is_protected = false;
  }

  bool Drop(PageRun run) override {
    for (uint32_t page = run.first; page < run.end(); ++page) {
      if (locked_.contains(page)) return false;
    }
    for (uint32_t page = run.first; page < run.end(); ++page) {
      pages_.at(page) = {};
      std::memset(&bytes_[page * kPageSize], 0xee, kPageSize);
    }
    return true;
  }

  void Wake(PageRun) override {}

  const std::byte* Bytes(PageRun run) const override { return &bytes_[run.first * kPageSize]; }

 private:
  struct Page {
    bool present = false;
    bool is_protected = false;
  };

  void Access(uint32_t page, bool write) {
    while (!pages_.at(page).present) on_missing(page, write);
    if (write && pages_[page].is_protected) {
      on_write_protected(page);
      while (!pages_[page].present) on_missing(page, write);
    }
  }

  std::vector<Page> pages_;
  std::vector<std::byte> bytes_;
  std::set<uint32_t> locked_;
};

}  // namespace tmem::run

#endif  // TMEM_TESTS_RUN_FAKE_SPACE_H_
