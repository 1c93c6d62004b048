#include "slot_engine.h"

#include <array>
#include <cstring>
#include <optional>
#include <utility>

namespace tmem {

SlotEngine::SlotEngine(uint32_t segments)
    : segments_(segments),
      arena_(std::move(*Arena::Create(segments))),
      memory_(*arena_, segments),
      stake_(memory_.Join({.weight = 100})),
      heap_(memory_, stake_, KeyspaceId{1}, PageClass::kPersistent) {}

SlotEngine::~SlotEngine() {
  for (const Location place : places_) {
    if (place) heap_.Free({&place, 1});
  }
  memory_.Leave(stake_);
}

uint32_t SlotEngine::segments_in_use() const {
  return memory_.usage().in_use[static_cast<size_t>(PageClass::kPersistent)];
}

Location SlotEngine::Fill(Heap::Slot slot, uint32_t number, std::span<const std::byte> payload) {
  std::memcpy(slot.payload(), payload.data(), payload.size());
  slot.header().index = number;
  const Location location(slot.segment(), slot.slot(), Codec::kLz4, payload.size());
  slot.Publish();
  return location;
}

bool SlotEngine::Put(uint32_t number, std::span<const std::byte> payload) {
  if (number >= places_.size()) places_.resize(number + 1);
  if (places_[number]) Free(number);
  if (segments_ - segments_in_use() < kFewFree) Compact();
  auto slot = heap_.Allocate(payload.size());
  while (!slot) {
    if (!Compact()) return false;
    slot = heap_.Allocate(payload.size());
  }
  places_[number] = Fill(*std::move(slot), number, payload);
  return true;
}

void SlotEngine::Free(uint32_t number) {
  heap_.Free({&places_[number], 1});
  places_[number] = {};
}

bool SlotEngine::Compact() {
  const SegmentId segment = heap_.DetachSparsest();
  if (segment == kNoSegment) return false;
  std::array<uint32_t, kMovedAPut> slots;
  const size_t count = heap_.UsedSlots(segment, slots);
  bool moved = false;
  for (const uint32_t slot : std::span(slots).first(count)) moved |= Move(segment, slot);
  heap_.LetGo(segment);
  return moved;
}

bool SlotEngine::Move(SegmentId segment, uint32_t slot) {
  Location& place = places_[heap_.HeaderIn(segment, slot).index];
  auto to = heap_.Allocate(place.length(), Heap::Growth::kForbidden);
  if (!to) return false;
  const Location old = place;
  place = Fill(*std::move(to), heap_.HeaderOf(old).index, {heap_.PayloadOf(old), old.length()});
  moved_bytes_ += old.length();
  heap_.Free({&old, 1});
  return true;
}

}  // namespace tmem
