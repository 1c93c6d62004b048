// Keeps at most so many pages of the arena in memory: serves its faults, chooses who leaves, and
// moves pages between memory and their copies.
//
// Why no write is lost and nothing stale is read: a page is write-protected before it is copied
// out and dropped only after its copy is stored; who writes in between waits for the fault loop,
// which is us, and finds the page absent when let go. A page comes back from its copy as clean
// and write-protected (free to evict again) or, if the fault was a write, as dirty.
//
// Threads: owned by the fault loop's thread.
#ifndef TMEM_RUN_RESIDENCY_H_
#define TMEM_RUN_RESIDENCY_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "run/address_space.h"
#include "run/backing.h"
#include "run/clock_hand.h"
#include "run/counters.h"
#include "run/page_table.h"
#include "run/read_ahead.h"

namespace tmem::run {

// Called when content is lost that the program still needs; does not return to it. The message
// says what happened.
using FatalHandler = std::function<void(const std::string& message)>;

class Residency {
 public:
  struct Config {
    static constexpr uint32_t kMinLimitPages = 256;
    uint32_t limit_pages = kMinLimitPages;
    uint32_t read_ahead_pages = 1;  // brought in at one fault at most, 1 to Backing::kMaxRun
  };

  Residency(const Config& config, PageTable& table, AddressSpace& space, Backing& backing,
            Counters& counters, FatalHandler fatal);
  ~Residency();

  // The program waits for an absent page, or did a moment ago.
  void OnMissing(uint32_t page, bool write);
  // The program waits to write to a write-protected page, or did a moment ago.
  void OnWriteProtected(uint32_t page);

  // The program gave up the content of the run: it reads as zeros from now on.
  void Discard(PageRun run);

  // Pages that are pinned may become resident but are not evicted: we could not read them.
  void SetPinned(PageRun run, bool pinned);

 private:
  struct Buffer;

  void FillZeros(uint32_t page);
  void FillFromCopies(uint32_t page, bool write);
  bool WillBeWritten(uint32_t page) const;
  void InstallCopies(PageRun run, const std::byte* content, bool written);
  void Install(PageRun run, const std::byte* content, bool protect);
  void BecomeResident(uint32_t page, PageState state);
  void BecomeTouched(int64_t pages);

  void MakeRoom(uint32_t pages);
  uint32_t Evict(PageRun run);
  uint32_t StoreAndDrop(PageRun run);
  uint32_t DropStored(PageRun run);
  uint32_t DropZeros(PageRun run);
  void Keep(PageRun run);

  const Config config_;
  PageTable& table_;
  AddressSpace& space_;
  Backing& backing_;
  Counters& counters_;
  const FatalHandler fatal_;
  ClockHand hand_;
  ReadAhead zero_streams_;
  ReadAhead copy_streams_;
  const std::unique_ptr<Buffer> buffer_;
  // After an attempt to make room that freed nothing: faults to wait before the next one.
  uint32_t pause_ = 0;
  uint32_t next_pause_ = 1;
};

// The longest run from `page` on, `max_pages` at most, whose pages are evicted and can be loaded
// together: copies of one kind and, in the pool, of one generation.
PageRun LoadableRun(std::span<const PageEntry> entries, uint32_t page, uint32_t max_pages);

}  // namespace tmem::run

#endif  // TMEM_RUN_RESIDENCY_H_
