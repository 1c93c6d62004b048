#include "log_engine.h"

#include <algorithm>
#include <cstring>

namespace tmem {

LogEngine::LogEngine(uint32_t segments, Policy policy)
    : policy_(policy), memory_(segments * (kSegmentSize / kPageSize)), segments_(segments) {
  for (SegmentNumber segment = segments; segment > 0; --segment) free_.push_back(segment - 1);
}

uint32_t LogEngine::Taken(uint32_t payload_bytes) {
  return static_cast<uint32_t>(sizeof(RecordHeader)) + (payload_bytes + 7) / 8 * 8;
}

std::byte* LogEngine::At(SegmentNumber segment, uint32_t start) {
  return memory_.page(0).data() + size_t{segment} * kSegmentSize + start;
}

uint32_t LogEngine::segments_in_use() const {
  return static_cast<uint32_t>(segments_.size() - free_.size());
}

bool LogEngine::Append(SegmentNumber& open, uint32_t reserve, uint32_t number,
                       std::span<const std::byte> payload, uint64_t written) {
  const auto bytes = static_cast<uint32_t>(payload.size());
  if (open != kNone && segments_[open].end + Taken(bytes) > kSegmentSize) {
    segments_[open].closed = true;
    open = kNone;
  }
  if (open == kNone) {
    if (free_.size() <= reserve) return false;
    open = free_.back();
    free_.pop_back();
    segments_[open] = Segment{};
  }
  Segment& segment = segments_[open];
  std::byte* const to = At(open, segment.end);
  std::memcpy(to, &number, sizeof number);  // as the header that there would be
  std::memcpy(to + sizeof(RecordHeader), payload.data(), bytes);
  places_[number] = {open, static_cast<uint32_t>(segment.entries.size())};
  segment.entries.push_back({number, segment.end, bytes, written});
  segment.end += Taken(bytes);
  segment.living += Taken(bytes);
  segment.youngest = std::max(segment.youngest, written);
  return true;
}

bool LogEngine::Put(uint32_t number, std::span<const std::byte> payload) {
  ++now_;
  if (number >= places_.size()) places_.resize(number + 1);
  if (places_[number].segment != kNone) Free(number);
  if (free_.size() < kFewFree) Clean(kMovedAPut);
  while (!Append(open_, kForCleaner, number, payload, now_)) {
    if (!Clean(kMovedAPut)) return false;
  }
  return true;
}

void LogEngine::Free(uint32_t number) {
  const Place place = places_[number];
  segments_[place.segment].living -= Taken(segments_[place.segment].entries[place.entry].bytes);
  places_[number] = {};
}

double LogEngine::Merit(const Segment& segment) const {
  const double used = static_cast<double>(segment.living) / kSegmentSize;
  if (policy_ == Policy::kGreedy) return 1 - used;
  return (1 - used) * static_cast<double>(now_ - segment.youngest) / (1 + used);
}

LogEngine::SegmentNumber LogEngine::Choose() const {
  SegmentNumber best = kNone;
  double best_merit = 0;
  for (SegmentNumber number = 0; number < segments_.size(); ++number) {
    const Segment& segment = segments_[number];
    // One that wins less than 1% is not worth the work.
    if (!segment.closed || segment.living > kSegmentSize / 100 * 99) continue;
    const double merit = Merit(segment);
    if (merit > best_merit) {
      best = number;
      best_merit = merit;
    }
  }
  return best;
}

bool LogEngine::Clean(uint32_t records) {
  while (records > 0) {
    if (victim_ == kNone) {
      victim_ = Choose();
      next_entry_ = 0;
      if (victim_ == kNone) return false;
    }
    const std::vector<Entry>& entries = segments_[victim_].entries;
    if (next_entry_ == entries.size()) {
      segments_[victim_] = Segment{};
      free_.push_back(victim_);
      victim_ = kNone;
      return true;
    }
    const Entry entry = entries[next_entry_++];
    const Place place = places_[entry.number];
    if (place.segment != victim_ || place.entry != next_entry_ - 1) continue;
    const std::byte* const from = At(victim_, entry.start) + sizeof(RecordHeader);
    if (!Append(cleaner_open_, 0, entry.number, {from, entry.bytes}, entry.written)) return false;
    moved_bytes_ += entry.bytes;
    --records;
  }
  return true;
}

}  // namespace tmem
