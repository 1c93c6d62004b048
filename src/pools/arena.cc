#include "pools/arena.h"

#include <algorithm>
#include <utility>

namespace tmem {

namespace {
// One segment more than may be taken: ReleaseWarm has one in its hands now and then, which is
// neither taken nor free.
constexpr size_t kSpare = 1;
}  // namespace

Result<std::unique_ptr<Arena>> Arena::Create(uint32_t max_segments) {
  auto segments = Region::Anonymous((max_segments + kSpare) * kSegmentSize);
  if (!segments) return std::unexpected(std::move(segments).error());
  auto records = Region::Anonymous((max_segments + kSpare) * sizeof(SegmentRecord));
  if (!records) return std::unexpected(std::move(records).error());
  return Create(max_segments, *std::move(segments), *std::move(records));
}

Result<std::unique_ptr<Arena>> Arena::Create(uint32_t max_segments, Region segments,
                                             Region records) {
  auto table = SegmentTable::Create(max_segments + 1);
  if (!table) return std::unexpected(std::move(table).error());
  return std::unique_ptr<Arena>(
      new Arena(max_segments, std::move(segments), std::move(records), std::move(*table)));
}

Arena::Arena(uint32_t max_segments, Region segments, Region records,
             std::unique_ptr<SegmentTable> table)
    : max_segments_(max_segments),
      segments_(std::move(segments)),
      records_(std::move(records)),
      table_(std::move(table)) {
  if (segments_.outlives_process()) FindSurvivors();
}

void Arena::FindSurvivors() {
  const std::vector<Survivor> survivors = Survivors();
  MutexLock lock(mutex_);
  taken_ = static_cast<uint32_t>(survivors.size());
  for (const Survivor& survivor : survivors) {
    for (; untouched_ < survivor.segment; ++untouched_) cold_.insert(untouched_);
    untouched_ = survivor.segment + 1;
    last_opened_ = std::max(last_opened_.load(), survivor.opened);
  }
  // The process before may have kept some warm, or was about to release them.
  for (const SegmentId segment : cold_) ReleaseMemory(segment);
  const size_t end = size_t{untouched_} * kSegmentSize;
  segments_.Release(end, segments_.bytes() - end);
}

std::vector<Arena::Survivor> Arena::Survivors() const {
  std::vector<Survivor> survivors;
  const size_t end =
      std::min<size_t>(max_segments_ + kSpare, records_.Size() / sizeof(SegmentRecord));
  for (SegmentId segment = 0; segment < end; ++segment) {
    SegmentRecord& record = RecordOf(segment);
    const uint64_t word = record.word.load(std::memory_order_relaxed);
    if (word == 0) continue;
    if (const auto owner = SegmentRecord::OwnerOf(word)) {
      survivors.push_back({segment, *owner, record.opened});
    } else {
      record.word.store(0, std::memory_order_relaxed);
    }
  }
  return survivors;
}

void Arena::Claim(SegmentId segment, const SegmentOwner& owner) {
  SegmentRecord& record = RecordOf(segment);
  record.opened = last_opened_.fetch_add(1, std::memory_order_relaxed) + 1;
  record.word.store(SegmentRecord::WordOf(owner), std::memory_order_release);
}

void Arena::Disclaim(SegmentId segment) {
  RecordOf(segment).word.store(0, std::memory_order_release);
}

SegmentId Arena::Take() {
  const SegmentId segment = TakeFree();
  if (segment == kNoSegment) return kNoSegment;
  if (segments_.Provide(size_t{segment} * kSegmentSize, kSegmentSize)) return segment;
  MutexLock lock(mutex_);
  --taken_;
  cold_.insert(segment);
  return kNoSegment;
}

SegmentId Arena::TakeFree() {
  MutexLock lock(mutex_);
  if (taken_ == max_segments_) return kNoSegment;
  ++taken_;
  if (!warm_.empty()) return warm_.extract(warm_.begin()).value();
  if (!cold_.empty()) return cold_.extract(cold_.begin()).value();
  return untouched_++;
}

void Arena::GiveBack(SegmentId segment) {
  SegmentId surplus = kNoSegment;
  {
    MutexLock lock(mutex_);
    warm_.insert(segment);
    if (warm_.size() > kWarmSegments) {
      surplus = warm_.extract(--warm_.end()).value();  // the highest: use stays at the low end
    } else {
      --taken_;
    }
  }
  if (surplus == kNoSegment) return;
  ReleaseMemory(surplus);
  MutexLock lock(mutex_);
  cold_.insert(surplus);
  --taken_;
}

void Arena::ReleaseWarm() {
  {
    MutexLock lock(mutex_);
    if (std::exchange(releasing_warm_, true)) return;
  }
  while (ReleaseOneWarm()) {
  }
}

bool Arena::ReleaseOneWarm() {
  SegmentId segment;
  {
    MutexLock lock(mutex_);
    if (warm_.empty()) {
      releasing_warm_ = false;
      return false;
    }
    segment = warm_.extract(warm_.begin()).value();
  }
  ReleaseMemory(segment);
  MutexLock lock(mutex_);
  cold_.insert(segment);
  return true;
}

void Arena::ReleaseMemory(SegmentId segment) const {
  segments_.Release(size_t{segment} * kSegmentSize, kSegmentSize);
}

}  // namespace tmem
