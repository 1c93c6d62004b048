#include "run/residency.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "base/units.h"

namespace tmem::run {

namespace {

constexpr uint32_t kMaxPause = 1024;
constexpr uint32_t kStampMask = (1u << PageEntry::kStampBits) - 1;

bool IsZero(const std::byte* page) {
  // Equal to itself shifted by one byte, and the first byte is zero.
  return page[0] == std::byte{0} && std::memcmp(page, page + 1, kPageSize - 1) == 0;
}

}  // namespace

struct Residency::Buffer {
  alignas(kPageSize) std::array<std::byte, Backing::kMaxRun * kPageSize> loaded;
  alignas(kPageSize) std::array<std::byte, Backing::kMaxRun * kPageSize> zeros{};
  std::array<Copy, Backing::kMaxRun> copies;
};

Residency::Residency(const Config& config, PageTable& table, AddressSpace& space, Backing& backing,
                     Counters& counters, FatalHandler fatal)
    : config_(config),
      table_(table),
      space_(space),
      backing_(backing),
      counters_(counters),
      fatal_(std::move(fatal)),
      hand_(table),
      zero_streams_(config.read_ahead_pages),
      copy_streams_(config.read_ahead_pages),
      buffer_(std::make_unique<Buffer>()) {
  counters_.limit = config.limit_pages;
}

Residency::~Residency() = default;

void Residency::OnMissing(uint32_t page, bool write) {
  const PageEntry& entry = table_[page];
  if (entry.resident()) return space_.Wake({page, 1});  // another thread's fault brought it in
  ++counters_.faults;
  if (entry.state == PageState::kEmpty) {
    FillZeros(page);
  } else {
    FillFromCopies(page, write);
  }
}

void Residency::OnWriteProtected(uint32_t page) {
  const PageEntry& entry = table_[page];
  // Evicted meanwhile: the write is as good as a fault on an absent page.
  if (!entry.resident()) return OnMissing(page, true);
  if (entry.state == PageState::kClean) {
    ++counters_.write_faults;
    PageEntry& changed = table_.Touch(page);
    changed.state = PageState::kDirty;
    changed.credit = std::max<uint32_t>(changed.credit, 1);
    changed.rewritten = 1;
  }
  space_.Unprotect({page, 1});
}

void Residency::FillZeros(uint32_t page) {
  const uint32_t window = std::min(zero_streams_.WindowFor(page), table_.size() - page);
  PageRun run{page, 1};
  while (run.count < window && table_[run.end()].state == PageState::kEmpty) ++run.count;
  zero_streams_.Brought(run.count);
  MakeRoom(run.count);
  counters_.zero_filled += run.count;
  Install(run, buffer_->zeros.data(), false);
}

void Residency::FillFromCopies(uint32_t page, bool write) {
  const PageRun run = LoadableRun(table_.used(), page, copy_streams_.WindowFor(page));
  copy_streams_.Brought(run.count);
  MakeRoom(run.count);
  std::array<Copy, Backing::kMaxRun> copies;
  for (uint32_t k = 0; k < run.count; ++k) copies[k] = table_[page + k].copy();
  const uint64_t loaded = backing_.Load(run, copies, buffer_->loaded.data());
  if (!(loaded & 1)) {
    return fatal_(
        "a page of the program is lost: tmemd does not have it any more (flushed by the "
        "administrator, or the daemon was stopped)");
  }
  // The page that is waited for first; then its neighbours, as far as they came without a gap.
  InstallCopies({page, 1}, buffer_->loaded.data(), write);
  const auto good = std::min<uint32_t>(run.count, static_cast<uint32_t>(std::countr_one(loaded)));
  if (good == 1) return;
  counters_.read_ahead += good - 1;
  InstallCopies({page + 1, good - 1}, buffer_->loaded.data() + kPageSize, false);
}

// Whether a page that comes back shall be writable at once: its copy is then stale. A page that
// was written the last time will be again, mostly; now and then it has to show that.
bool Residency::WillBeWritten(uint32_t page) const {
  const PageEntry& entry = table_[page];
  // One time in eight; multiplied (Fibonacci hashing), so that no loop of the program keeps step.
  const bool ask_again = entry.stamp * 2654435761u >> 29 == 0;
  return entry.rewritten && !ask_again;
}

// Fills evicted pages, `written` or not, in stretches that are protected alike.
void Residency::InstallCopies(PageRun run, const std::byte* content, bool written) {
  while (run.count > 0) {
    const bool writable = written || WillBeWritten(run.first);
    PageRun stretch{run.first, 1};
    while (stretch.count < run.count && (written || WillBeWritten(stretch.end())) == writable) {
      ++stretch.count;
    }
    Install(stretch, content, !writable);
    content += stretch.count * kPageSize;
    run = {stretch.end(), run.count - stretch.count};
  }
}

// Fills absent pages; the copies of those that come back stay good while they are protected.
void Residency::Install(PageRun run, const std::byte* content, bool protect) {
  const PageState state = protect ? PageState::kClean : PageState::kDirty;
  while (run.count > 0) {
    const auto [count, result] = space_.Fill(run, content, protect);
    for (uint32_t k = 0; k < count; ++k) BecomeResident(run.first + k, state);
    if (result == AddressSpace::FillResult::kFilled) return;
    // Pages that appeared without us (kPresent) or lost their memory (kGone) are not ours to
    // manage; whoever waits for one finds out by trying again.
    space_.Wake({run.first + count, 1});
    run = {run.first + count + 1, run.count - count - 1};
    content += (count + 1) * kPageSize;
  }
}

void Residency::BecomeResident(uint32_t page, PageState state) {
  PageEntry& entry = table_.Touch(page);
  if (entry.state == PageState::kEmpty) {
    BecomeTouched(1);
    entry.credit = 1;
  } else {
    // Back within as many evictions as there are pages in memory: a working page.
    const auto age = (static_cast<uint32_t>(counters_.evicted) - entry.stamp) & kStampMask;
    entry.credit = age < config_.limit_pages ? PageEntry::kMaxCredit : 1;
  }
  entry.state = state;
  counters_.resident_peak = std::max(counters_.resident_peak, ++counters_.resident);
}

void Residency::BecomeTouched(int64_t pages) {
  counters_.touched += static_cast<uint64_t>(pages);
  counters_.touched_peak = std::max(counters_.touched_peak, counters_.touched);
}

void Residency::MakeRoom(uint32_t pages) {
  if (counters_.resident + pages <= config_.limit_pages) return;
  if (pause_ > 0) {
    --pause_;
    return;
  }
  // A batch more than needed, so that not every fault has to evict.
  const uint32_t batch = std::min(Backing::kMaxRun, config_.limit_pages / 8);
  const uint64_t goal = config_.limit_pages - std::max(pages, batch);
  uint32_t kept = 0;
  while (counters_.resident > goal) {
    const auto victims = hand_.Next(batch);
    if (!victims) break;
    const uint32_t dropped = Evict(*victims);
    kept += victims->count - dropped;
    // Nobody takes pages now: trying them all at every fault would not help.
    if (kept > config_.limit_pages / 4) break;
  }
  if (counters_.resident + pages <= config_.limit_pages) {
    next_pause_ = 1;
  } else {
    pause_ = next_pause_;
    next_pause_ = std::min(next_pause_ * 2, kMaxPause);
  }
}

// Takes the run out of memory as far as possible; returns the pages gone.
uint32_t Residency::Evict(PageRun run) {
  const auto is_dirty = [&](uint32_t page) { return table_[page].state == PageState::kDirty; };
  bool any_dirty = false;
  for (uint32_t page = run.first; page < run.end(); ++page) any_dirty |= is_dirty(page);
  if (any_dirty && !space_.Protect(run)) {
    Keep(run);
    return 0;
  }
  // From here on nothing in the run changes. Take it in stretches that have one fate.
  enum class Fate { kClean, kZero, kStore };
  const auto fate_of = [&](uint32_t page) {
    if (!is_dirty(page)) return Fate::kClean;
    return IsZero(space_.Bytes({page, 1})) ? Fate::kZero : Fate::kStore;
  };
  uint32_t dropped = 0;
  uint32_t page = run.first;
  Fate fate = fate_of(page);
  while (page < run.end()) {
    PageRun stretch{page, 0};
    const Fate current = fate;
    do {
      ++stretch.count;
      if (++page < run.end()) fate = fate_of(page);
    } while (page < run.end() && fate == current);
    switch (current) {
      case Fate::kClean: {
        for (uint32_t k = stretch.first; k < stretch.end(); ++k) table_.Touch(k).rewritten = 0;
        const uint32_t clean = DropStored(stretch);
        counters_.evicted_clean += clean;
        dropped += clean;
        break;
      }
      case Fate::kZero:
        dropped += DropZeros(stretch);
        break;
      case Fate::kStore:
        dropped += StoreAndDrop(stretch);
        break;
    }
  }
  return dropped;
}

uint32_t Residency::StoreAndDrop(PageRun run) {
  std::array<Copy, Backing::kMaxRun> copies;
  const uint64_t stored = backing_.Store(run, space_.Bytes(run), copies);
  uint32_t dropped = 0;
  uint32_t k = 0;
  while (k < run.count) {
    PageRun stretch{run.first + k, 0};
    for (; k < run.count && (stored >> k & 1); ++k) {
      PageEntry& entry = table_.Touch(run.first + k);
      if (!backing_.IsReplacedByStore(entry.copy())) backing_.Forget(run.first + k, entry.copy());
      entry.set_copy(copies[k]);
      entry.state = PageState::kClean;
      ++stretch.count;
    }
    if (stretch.count > 0) dropped += DropStored(stretch);
    for (; k < run.count && !(stored >> k & 1); ++k) {
      PageEntry& entry = table_.Touch(run.first + k);
      if (backing_.IsReplacedByStore(entry.copy())) entry.set_copy({});
      ++counters_.kept;
      Keep({run.first + k, 1});
      space_.Unprotect({run.first + k, 1});
    }
  }
  return dropped;
}

// Drops protected pages that equal their copies.
uint32_t Residency::DropStored(PageRun run) {
  if (!space_.Drop(run)) {
    Keep(run);
    return 0;
  }
  for (uint32_t page = run.first; page < run.end(); ++page) {
    PageEntry& entry = table_.Touch(page);
    entry.state = PageState::kEvicted;
    entry.stamp = static_cast<uint32_t>(++counters_.evicted) & kStampMask;
  }
  counters_.resident -= run.count;
  return run.count;
}

uint32_t Residency::DropZeros(PageRun run) {
  if (!space_.Drop(run)) {
    Keep(run);
    space_.Unprotect(run);
    return 0;
  }
  for (uint32_t page = run.first; page < run.end(); ++page) {
    PageEntry& entry = table_.Touch(page);
    backing_.Forget(page, std::exchange(entry, PageEntry{}).copy());
  }
  counters_.evicted += run.count;
  counters_.evicted_zero += run.count;
  counters_.resident -= run.count;
  BecomeTouched(-static_cast<int64_t>(run.count));
  return run.count;
}

// Leaves pages that could not leave (refused, or locked by the program) in peace for some laps.
void Residency::Keep(PageRun run) {
  for (uint32_t page = run.first; page < run.end(); ++page) {
    table_.Touch(page).credit = PageEntry::kMaxCredit;
  }
}

void Residency::Discard(PageRun run) {
  // Beyond what was ever touched there is nothing to give up.
  const auto used = static_cast<uint32_t>(table_.used().size());
  if (run.first >= used) return;
  run.count = std::min(run.count, used - run.first);
  const bool dropped = space_.Drop(run);
  while (run.count > 0) {
    const PageRun part{run.first, std::min(run.count, Backing::kMaxRun)};
    for (uint32_t k = 0; k < part.count; ++k) {
      PageEntry& entry = table_.Touch(part.first + k);
      buffer_->copies[k] = entry.copy();
      if (entry.state == PageState::kEmpty) continue;
      const bool resident = entry.resident();
      const auto pinned = entry.pinned;
      ++counters_.discarded;
      if (resident && !dropped) {
        // Locked memory: it stays, and only its old copy goes.
        entry.set_copy({});
        entry.state = PageState::kDirty;
        continue;
      }
      counters_.resident -= resident ? 1 : 0;
      BecomeTouched(-1);
      entry = PageEntry{};
      entry.pinned = pinned;
    }
    backing_.Forget(part, buffer_->copies);
    run = {part.end(), run.count - part.count};
  }
}

void Residency::SetPinned(PageRun run, bool pinned) {
  for (uint32_t page = run.first; page < run.end(); ++page) {
    if (table_[page].pinned != (pinned ? 1 : 0)) table_.Touch(page).pinned = pinned ? 1 : 0;
  }
}

PageRun LoadableRun(std::span<const PageEntry> entries, uint32_t page, uint32_t max_pages) {
  const Copy first = entries[page].copy();
  const auto limit =
      static_cast<uint32_t>(std::min<size_t>(entries.size(), size_t{page} + max_pages));
  PageRun run{page, 1};
  while (run.end() < limit && entries[run.end()].state == PageState::kEvicted &&
         entries[run.end()].kind == first.kind &&
         (first.kind == CopyKind::kSpill || entries[run.end()].where == first.where)) {
    ++run.count;
  }
  return run;
}

}  // namespace tmem::run
