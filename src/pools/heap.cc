#include "pools/heap.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <new>

namespace tmem {

namespace {

constexpr size_t kBitsPerWord = 64;

size_t BitmapWords(uint32_t slots) { return (slots + kBitsPerWord - 1) / kBitsPerWord; }

// The largest slot that may serve a payload in a heap of so many segments: half as large again
// while the heap is tiny, 1/32 more (about one size class) once it has 512 segments.
size_t SlackLimit(size_t payload_bytes, uint32_t segments) {
  const size_t divisor = std::clamp<size_t>(segments / 16, 2, 32);
  return payload_bytes + payload_bytes / divisor;
}

// An ephemeral segment is filled again only when so little of it is used.
bool IsSparse(uint32_t used, uint32_t slots) { return used <= slots / 2; }

}  // namespace

Heap::Slot::~Slot() {
  if (heap_ != nullptr) heap_->Abandon(*this);
}

Heap::Heap(Memory& memory, Memory::StakeId stake, KeyspaceId owner, PageClass page_class)
    : memory_(memory),
      arena_(memory.arena()),
      table_(arena_.table()),
      stake_(stake),
      owner_(owner),
      page_class_(page_class),
      partial_(static_cast<size_t>(SizeClassCount()), SegmentList(table_, &SegmentInfo::partial)),
      free_(static_cast<size_t>(SizeClassCount()), 0),
      by_age_(table_, &SegmentInfo::age) {}

Heap::~Heap() { assert(segments_ == 0); }

std::optional<Heap::Slot> Heap::Allocate(size_t payload_bytes, Growth growth) {
  {
    MutexLock lock(mutex_);
    auto slot = AllocateFromPartial(payload_bytes);
    if (slot || growth == Growth::kForbidden) return slot;
  }
  const SegmentId segment = memory_.Take(stake_, page_class_);
  if (segment == kNoSegment) return std::nullopt;
  MutexLock lock(mutex_);
  Open(segment, SizeClassFor(payload_bytes));
  return AllocateIn(segment);
}

std::optional<Heap::Slot> Heap::AllocateFromPartial(size_t payload_bytes) {
  const size_t limit = SlackLimit(payload_bytes, segments_);
  SizeClass size_class = SizeClassFor(payload_bytes);
  do {
    const SegmentId segment = partial_[size_class].first();
    if (segment != kNoSegment) return AllocateIn(segment);
    ++size_class;
  } while (size_class < SizeClassCount() && SlotSize(size_class) <= limit);
  return std::nullopt;
}

Heap::Slot Heap::AllocateIn(SegmentId segment) {
  SegmentInfo& info = table_[segment];
  uint32_t word = info.first_free_word;
  while (info.free_slots[word] == 0) ++word;
  info.first_free_word = word;
  const auto bit = static_cast<uint32_t>(std::countr_zero(info.free_slots[word]));
  info.free_slots[word] &= info.free_slots[word] - 1;
  ++info.used;
  AddFree(info.size_class, -1);
  // Relaxed: whoever reads it to evict holds the lock that we hold.
  info.unpublished.fetch_add(1, std::memory_order_relaxed);
  if (info.used == SlotsPerSegment(info.size_class)) Unlist(segment);
  const uint32_t slot = word * kBitsPerWord + bit;
  __builtin_prefetch(&HeaderIn(segment, slot), /*rw=*/1);  // the caller will fill it
  return Slot(this, segment, slot, SlotAddress(arena_.BaseOf(segment), info.size_class, slot));
}

void Heap::Open(SegmentId segment, SizeClass size_class) {
  const uint32_t slots = SlotsPerSegment(size_class);
  // The segment may have had another owner: none of its headers may look live.
  std::memset(arena_.BaseOf(segment) + kSegmentSize - slots * sizeof(RecordHeader), 0,
              slots * sizeof(RecordHeader));
  arena_.Claim(segment, {owner_, page_class_, size_class});
  Describe(segment, size_class);
}

void Heap::Describe(SegmentId segment, SizeClass size_class) {
  const uint32_t slots = SlotsPerSegment(size_class);
  SegmentInfo& info = *std::construct_at(&table_[segment]);
  info.size_class = size_class;
  info.free_slots = std::make_unique<uint64_t[]>(BitmapWords(slots));
  std::fill_n(info.free_slots.get(), BitmapWords(slots), ~uint64_t{0});
  if (slots % kBitsPerWord != 0) {
    info.free_slots[slots / kBitsPerWord] = (uint64_t{1} << slots % kBitsPerWord) - 1;
  }
  ++segments_;
  AddFree(size_class, static_cast<int>(slots));
  bitmap_bytes_ += BitmapWords(slots) * sizeof(uint64_t);
  by_age_.PushBack(segment);
  List(segment);
}

// As many as a segment has: its own, and enough in others for what it holds.
bool Heap::HasASegmentFree(SizeClass size_class) const {
  return free_[size_class] >= SlotsPerSegment(size_class);
}

void Heap::AddFree(SizeClass size_class, int slots) {
  const bool before = HasASegmentFree(size_class);
  free_[size_class] += static_cast<uint32_t>(slots);
  const bool after = HasASegmentFree(size_class);
  if (before != after) loose_.fetch_add(after ? 1 : UINT32_MAX, std::memory_order_relaxed);
}

void Heap::List(SegmentId segment) {
  SegmentInfo& info = table_[segment];
  partial_[info.size_class].PushBack(segment);
  info.listed = true;
}

void Heap::Unlist(SegmentId segment) {
  SegmentInfo& info = table_[segment];
  partial_[info.size_class].Remove(segment);
  info.listed = false;
}

bool Heap::CloseIfUnused(SegmentId segment) {
  SegmentInfo& info = table_[segment];
  if (info.used != 0) return false;
  if (info.listed) Unlist(segment);
  if (!info.detached) {
    by_age_.Remove(segment);
    AddFree(info.size_class, -static_cast<int>(SlotsPerSegment(info.size_class)));
  }
  --segments_;
  bitmap_bytes_ -= BitmapWords(SlotsPerSegment(info.size_class)) * sizeof(uint64_t);
  std::destroy_at(&info);
  return true;
}

bool Heap::FreeSlot(SegmentId segment, uint32_t slot) {
  SegmentInfo& info = table_[segment];
  const uint32_t word = slot / kBitsPerWord;
  info.free_slots[word] |= uint64_t{1} << slot % kBitsPerWord;
  info.first_free_word = std::min(info.first_free_word, word);
  --info.used;
  if (!info.detached) AddFree(info.size_class, 1);
  if (CloseIfUnused(segment)) return true;
  if (info.listed || info.detached) return false;
  if (page_class_ == PageClass::kPersistent) {
    List(segment);
  } else if (IsSparse(info.used, SlotsPerSegment(info.size_class))) {
    by_age_.Remove(segment);
    by_age_.PushBack(segment);
    List(segment);
  }
  return false;
}

void Heap::Free(std::span<const Location> locations) {
  size_t next = 0;
  while (next < locations.size()) {
    SegmentId emptied = kNoSegment;
    {
      MutexLock lock(mutex_);
      while (next < locations.size() && emptied == kNoSegment) {
        const Location location = locations[next++];
        if (FreeSlot(location.segment(), location.slot())) emptied = location.segment();
      }
    }
    if (emptied != kNoSegment) GiveBack(emptied);
  }
}

void Heap::Abandon(const Slot& slot) {
  bool emptied;
  {
    MutexLock lock(mutex_);
    table_[slot.segment_].unpublished.fetch_sub(1, std::memory_order_relaxed);
    emptied = FreeSlot(slot.segment_, slot.slot_);
  }
  if (emptied) GiveBack(slot.segment_);
}

void Heap::GiveBack(SegmentId segment) {
  arena_.Disclaim(segment);
  memory_.GiveBack(stake_, page_class_, segment);
}

void Heap::Adopt(SegmentId segment, SizeClass size_class) {
  {
    MutexLock lock(mutex_);
    Describe(segment, size_class);
    SegmentInfo& info = table_[segment];
    const uint32_t slots = SlotsPerSegment(size_class);
    for (uint32_t slot = 0; slot < slots; ++slot) {
      const uint64_t state = HeaderIn(segment, slot).state.load(std::memory_order_relaxed);
      if ((state & RecordHeader::kLive) == 0) continue;
      info.free_slots[slot / kBitsPerWord] &= ~(uint64_t{1} << slot % kBitsPerWord);
      ++info.used;
      AddFree(size_class, -1);
    }
    const bool may_fill = page_class_ == PageClass::kPersistent || IsSparse(info.used, slots);
    if (info.used == slots || !may_fill) Unlist(segment);
    if (!CloseIfUnused(segment)) return;
  }
  GiveBack(segment);
}

void Heap::Abandon() {
  MutexLock lock(mutex_);
  std::ranges::fill(free_, 0);
  loose_.store(0, std::memory_order_relaxed);
  for (SegmentId segment = by_age_.first(); segment != kNoSegment;) {
    const SegmentId next = by_age_.After(segment);
    std::destroy_at(&table_[segment]);
    segment = next;
  }
  segments_ = 0;
}

SegmentId Heap::DetachOldest() {
  MutexLock lock(mutex_);
  for (SegmentId segment = by_age_.first(); segment != kNoSegment;
       segment = by_age_.After(segment)) {
    SegmentInfo& info = table_[segment];
    if (info.unpublished.load(std::memory_order_acquire) != 0) continue;
    Detach(segment);
    return segment;
  }
  return kNoSegment;
}

SegmentId Heap::DetachSparsest() {
  MutexLock lock(mutex_);
  SegmentId sparsest = kNoSegment;
  const auto part_used = [this](SegmentId segment) TMEM_NO_THREAD_SAFETY_ANALYSIS {
    return static_cast<double>(table_[segment].used) / SlotsIn(segment);
  };
  for (int i = 0; i < SizeClassCount(); ++i) {
    const auto size_class = static_cast<SizeClass>(i);
    if (!HasASegmentFree(size_class)) continue;
    const SegmentList& partial = partial_[size_class];
    uint32_t looks = 0;
    for (SegmentId segment = partial.last(); segment != kNoSegment && looks < kLooks;
         segment = partial.Before(segment), ++looks) {
      if (table_[segment].unpublished.load(std::memory_order_acquire) != 0) continue;
      if (sparsest == kNoSegment || part_used(segment) < part_used(sparsest)) sparsest = segment;
    }
  }
  if (sparsest != kNoSegment) Detach(sparsest);
  return sparsest;
}

size_t Heap::UsedSlots(SegmentId segment, std::span<uint32_t> slots) const {
  MutexLock lock(mutex_);
  const SegmentInfo& info = table_[segment];
  const uint32_t end = SlotsPerSegment(info.size_class);
  size_t count = 0;
  for (uint32_t word = 0; word < BitmapWords(end); ++word) {
    for (uint64_t used = ~info.free_slots[word]; used != 0; used &= used - 1) {
      const auto slot = static_cast<uint32_t>(word * kBitsPerWord) +
                        static_cast<uint32_t>(std::countr_zero(used));
      if (slot >= end || count == slots.size()) return count;
      slots[count++] = slot;
    }
  }
  return count;
}

void Heap::Detach(SegmentId segment) {
  SegmentInfo& info = table_[segment];
  if (info.listed) Unlist(segment);
  by_age_.Remove(segment);
  AddFree(info.size_class, -static_cast<int>(SlotsPerSegment(info.size_class) - info.used));
  info.detached = true;
  ++info.used;
}

void Heap::Attach(SegmentId segment) {
  SegmentInfo& info = table_[segment];
  info.detached = false;
  AddFree(info.size_class, static_cast<int>(SlotsPerSegment(info.size_class) - info.used));
  by_age_.PushBack(segment);
  if (info.used < SlotsPerSegment(info.size_class)) List(segment);
}

bool Heap::LetGo(SegmentId segment) {
  bool emptied;
  {
    MutexLock lock(mutex_);
    --table_[segment].used;
    emptied = CloseIfUnused(segment);
    if (!emptied && page_class_ == PageClass::kPersistent) Attach(segment);
  }
  if (emptied) GiveBack(segment);
  return emptied;
}

size_t Heap::bytes() const {
  MutexLock lock(mutex_);
  return segments_ * sizeof(SegmentInfo) + bitmap_bytes_;
}

}  // namespace tmem
