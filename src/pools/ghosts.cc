#include "pools/ghosts.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "pools/arena.h"

namespace tmem {

namespace {

constexpr uint32_t kPagesPerSegment = 512;  // of 2 KiB
constexpr double kChargeWeight = 1.0 / 32;  // of the newest page in the mean

}  // namespace

uint32_t Ghosts::SamplingFor(uint32_t capacity) {
  const uint64_t pages = uint64_t{capacity} * kPagesPerSegment;
  return static_cast<uint32_t>(std::bit_ceil(std::max<uint64_t>(pages / kGhosts, 1)));
}

// The sample takes the low bits, the mark the next ones, the bucket the high ones.
Ghosts::Bucket& Ghosts::BucketOf(uint64_t hash) {
  if (!buckets_) buckets_ = std::make_unique<std::array<Bucket, kBuckets>>();
  return (*buckets_)[(hash >> 48) % kBuckets];
}

Ghosts::Ghost* Ghosts::Find(Bucket& bucket, uint64_t hash) {
  const auto mark = static_cast<uint16_t>(hash >> 32);
  for (uint8_t i = 0; i < bucket.used; ++i) {
    if (bucket.ghosts[i].mark == mark) return &bucket.ghosts[i];
  }
  return nullptr;
}

void Ghosts::Lost(uint64_t hash, std::optional<Bytes> charge) {
  if (!InSample(hash)) return;
  MutexLock lock(mutex_);
  lost_ = true;
  if (charge) mean_charge_ += (static_cast<double>(charge->value) - mean_charge_) * kChargeWeight;
  Bucket& bucket = BucketOf(hash);
  Ghost* ghost = Find(bucket, hash);
  if (ghost != nullptr) {
    hits_ += page_class_ == PageClass::kPersistent && AgeOf(*ghost) < kGhosts;
  } else if (bucket.used < kWays) {
    ghost = &bucket.ghosts[bucket.used++];
  } else {
    ghost = &*std::ranges::max_element(bucket.ghosts, {},
                                       [this](const Ghost& one)
                                           TMEM_NO_THREAD_SAFETY_ANALYSIS { return AgeOf(one); });
  }
  *ghost = {.mark = static_cast<uint16_t>(hash >> 32), .born = static_cast<uint16_t>(++serial_)};
}

void Ghosts::Missed(uint64_t hash) {
  if (!InSample(hash)) return;
  MutexLock lock(mutex_);
  Bucket& bucket = BucketOf(hash);
  Ghost* const ghost = Find(bucket, hash);
  if (ghost == nullptr) return;
  hits_ += AgeOf(*ghost) < kYoung;
  Remove(bucket, *ghost);  // it may come back only as a page
}

void Ghosts::Stored(uint64_t hash) {
  if (!InSample(hash)) return;
  MutexLock lock(mutex_);
  if (!buckets_) return;
  Bucket& bucket = BucketOf(hash);
  Ghost* const ghost = Find(bucket, hash);
  if (ghost == nullptr) return;
  if (AgeOf(*ghost) < kGhosts) {
    ++hits_;
    ++stored_;
  }
  Remove(bucket, *ghost);
}

uint32_t Ghosts::Extent() const {
  if (page_class_ == PageClass::kEphemeral) {
    return static_cast<uint32_t>(std::min<uint64_t>(serial_, kYoung));
  }
  uint32_t live = stored_;
  for (const Bucket& bucket : *buckets_) {
    for (uint8_t i = 0; i < bucket.used; ++i) live += AgeOf(bucket.ghosts[i]) < kGhosts;
  }
  return live;
}

std::optional<double> Ghosts::TakeSaved() {
  MutexLock lock(mutex_);
  if (!std::exchange(lost_, false) && hits_ == 0) return std::nullopt;
  if (hits_ == 0) return 0;
  // The sampling is in both, the hits and the ghosts.
  const double segments =
      std::max(Extent(), kLeastExtent) * mean_charge_ / static_cast<double>(kSegmentSize);
  stored_ = 0;
  return static_cast<double>(std::exchange(hits_, 0)) / segments;
}

}  // namespace tmem
