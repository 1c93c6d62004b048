#include "block_engine.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace tmem {

BlockEngine::BlockEngine(uint32_t segments)
    : memory_(segments * (kSegmentSize / kPageSize)),
      blocks_(segments * kBlocksASegment),
      blocks_used_(segments) {
  for (BlockNumber block = 0; block < blocks_.size(); ++block) free_blocks_.insert(block);
  sizes_.push_back({.slot = kPageSize, .slots = kBlockPages, .partial = {}});
  for (uint32_t slots = kBlockSize / (kMaxCompressed + sizeof(RecordHeader));; ++slots) {
    const auto slot = static_cast<uint32_t>(kBlockSize / slots - sizeof(RecordHeader)) / 8 * 8;
    if (slot < 16) break;
    // The next smaller one only when it is far enough from the last.
    const auto next =
        static_cast<uint32_t>(kBlockSize / (slots + 1) - sizeof(RecordHeader)) / 8 * 8;
    if (sizes_.size() > 1 && next > sizes_.back().slot - std::max(8u, sizes_.back().slot / 32)) {
      continue;
    }
    sizes_.push_back({.slot = slot, .slots = slots, .partial = {}});
  }
  std::ranges::reverse(sizes_);
}

uint32_t BlockEngine::SizeFor(size_t bytes) const {
  const auto at = std::ranges::lower_bound(sizes_, bytes, {}, &Size::slot);
  return static_cast<uint32_t>(at - sizes_.begin());
}

std::byte* BlockEngine::At(const Place& place) {
  const Block& block = blocks_[place.block];
  const size_t base = size_t{place.block / kBlocksASegment} * kSegmentSize +
                      size_t{place.block % kBlocksASegment} * kBlockSize;
  return memory_.page(0).data() + base + size_t{place.slot} * sizes_[block.size].slot;
}

bool BlockEngine::Allocate(uint32_t size_number, bool may_open, Place& place) {
  Size& size = sizes_[size_number];
  if (size.partial.empty()) {
    if (!may_open || free_blocks_.empty()) return false;
    const BlockNumber opened = free_blocks_.extract(free_blocks_.begin()).value();
    if (blocks_used_[opened / kBlocksASegment]++ == 0) ++segments_in_use_;
    Block& block = blocks_[opened];
    block.size = size_number;
    block.numbers.assign(size.slots, 0);
    block.free_slots.resize(size.slots);
    std::iota(block.free_slots.rbegin(), block.free_slots.rend(), 0u);
    size.free += size.slots;
    size.partial.insert(opened);
  }
  const BlockNumber number = *size.partial.begin();
  Block& block = blocks_[number];
  place.block = number;
  place.slot = block.free_slots.back();
  block.free_slots.pop_back();
  ++block.used;
  --size.free;
  if (block.free_slots.empty()) size.partial.erase(number);
  return true;
}

void BlockEngine::Fill(const Place& place, uint32_t number, const std::byte* from) {
  std::memcpy(At(place), from, place.bytes);
  blocks_[place.block].numbers[place.slot] = number;
  places_[number] = place;
}

void BlockEngine::FreeSlot(const Place& place) {
  Block& block = blocks_[place.block];
  Size& size = sizes_[block.size];
  block.free_slots.push_back(place.slot);
  if (!block.victim) {
    ++size.free;
    size.partial.insert(place.block);
  }
  if (--block.used > 0) return;
  if (block.victim) {
    block.victim = false;
    victim_ = kNone;
  } else {
    size.free -= size.slots;
    size.partial.erase(place.block);
  }
  block.free_slots.clear();
  free_blocks_.insert(place.block);
  if (--blocks_used_[place.block / kBlocksASegment] == 0) --segments_in_use_;
}

bool BlockEngine::Put(uint32_t number, std::span<const std::byte> payload) {
  if (number >= places_.size()) places_.resize(number + 1);
  if (places_[number].block != kNone) Free(number);
  if (free_blocks_.size() < kFewFree) Compact();
  Place place{.bytes = static_cast<uint32_t>(payload.size())};
  while (!Allocate(SizeFor(payload.size()), /*may_open=*/true, place)) {
    if (!Compact()) return false;
  }
  Fill(place, number, payload.data());
  return true;
}

void BlockEngine::Free(uint32_t number) {
  FreeSlot(places_[number]);
  places_[number] = {};
}

void BlockEngine::ChooseVictim() {
  const auto emptiest = std::ranges::max_element(sizes_, {}, [](const Size& size) {
    return size.free < size.slots ? 0.0 : static_cast<double>(size.free) / size.slots;
  });
  if (emptiest->free < emptiest->slots) return;
  victim_ = *std::ranges::min_element(emptiest->partial, {},
                                      [this](BlockNumber block) { return blocks_[block].used; });
  blocks_[victim_].victim = true;
  emptiest->partial.erase(victim_);
  emptiest->free -= emptiest->slots - blocks_[victim_].used;
}

bool BlockEngine::Compact() {
  if (victim_ == kNone) ChooseVictim();
  if (victim_ == kNone) return false;
  const BlockNumber victim = victim_;
  const std::vector<uint32_t>& numbers = blocks_[victim].numbers;
  uint32_t moved = 0;
  for (uint32_t slot = 0; slot < numbers.size() && moved < kMovedAPut; ++slot) {
    const uint32_t number = numbers[slot];
    const Place old = places_[number];
    if (old.block != victim || old.slot != slot) continue;
    Place to{.bytes = old.bytes};
    if (!Allocate(blocks_[victim].size, /*may_open=*/true, to)) return moved > 0;
    Fill(to, number, At(old));
    moved_bytes_ += old.bytes;
    FreeSlot(old);
    ++moved;
    if (victim_ == kNone) break;
  }
  return moved > 0;
}

}  // namespace tmem
