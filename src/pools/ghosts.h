// What more memory would save: a sample of the pages that one owner lost for lack of it (evicted,
// or refused), and how often these are asked for again.
//
// A page counts if its hash falls into the sample, one of `sampling`. Its ghost is 32 bits in a
// bucket of eight, where it replaces the oldest; kGhosts are remembered at most. Ephemeral pages
// leave in the order in which they came, so that more memory would have saved those that left last:
// only hits on young ghosts count, as in Cliffhanger's shadow queues. Persistent pages stay, so
// that more memory would have kept any of those refused: all hits count, over all ghosts. A guest
// that swaps reads a page from disk without a word to us; we learn of it when it puts the page
// again, whether that is stored then or not.
//
// Thread-safe; takes a leaf lock, for pages of the sample alone. Belongs to a Keyspace, which asks
// it where a page was lost or missed, or a persistent one stored: never where one is found.
#ifndef TMEM_POOLS_GHOSTS_H_
#define TMEM_POOLS_GHOSTS_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/mutex.h"
#include "base/units.h"
#include "pools/settings.h"

namespace tmem {

class Ghosts {
 public:
  static constexpr uint32_t kGhosts = 4096;
  // Hits on ephemeral ghosts count while so many younger ones have come at most.
  static constexpr uint32_t kYoung = kGhosts / 16;

  // One page of `sampling` is looked at: such that kGhosts stand for all pages that `capacity`
  // segments hold, well compressed.
  static uint32_t SamplingFor(uint32_t capacity);

  // REQUIRES: sampling is a power of two.
  Ghosts(PageClass page_class, uint32_t sampling) : page_class_(page_class), mask_(sampling - 1) {}

  // The page was evicted, or is not stored though it was put. A persistent page that was lost
  // before counts as asked for again. `hash` is of the whole handle, all its bits random; one of
  // unknown charge counts as the mean.
  void Lost(uint64_t hash, std::optional<Bytes> charge);
  // The page was put and is stored. If it was lost before, it counts as asked for again.
  // REQUIRES: of persistent pages.
  void Stored(uint64_t hash);
  // The page was asked for, and is not there. REQUIRES: of ephemeral pages.
  void Missed(uint64_t hash);

  // Accesses since the last call that one more segment would have saved; nullopt if no page of the
  // sample was lost.
  std::optional<double> TakeSaved();

 private:
  static constexpr uint32_t kWays = 8;
  // Twice as many places as ghosts: few buckets overflow.
  static constexpr uint32_t kBuckets = 2 * kGhosts / kWays;
  // Fewer ghosts than this count as this many.
  static constexpr uint32_t kLeastExtent = 16;

  struct Ghost {
    uint16_t mark = 0;
    uint16_t born = 0;  // serial number
  };
  struct Bucket {
    std::array<Ghost, kWays> ghosts;
    uint8_t used = 0;
  };

  bool InSample(uint64_t hash) const { return (hash & mask_) == 0; }
  Bucket& BucketOf(uint64_t hash) TMEM_REQUIRES(mutex_);
  static Ghost* Find(Bucket& bucket, uint64_t hash);
  static void Remove(Bucket& bucket, Ghost& ghost) { ghost = bucket.ghosts[--bucket.used]; }
  uint32_t AgeOf(const Ghost& ghost) const TMEM_REQUIRES(mutex_) {
    return static_cast<uint16_t>(serial_ - ghost.born);
  }
  // How many ghosts the hits were among, those included that are none any more.
  uint32_t Extent() const TMEM_REQUIRES(mutex_);

  const PageClass page_class_;
  const uint64_t mask_;

  Mutex mutex_{LockRank::kLeaf};
  std::unique_ptr<std::array<Bucket, kBuckets>> buckets_ TMEM_GUARDED_BY(mutex_);
  uint64_t serial_ TMEM_GUARDED_BY(mutex_) = 0;  // of the youngest ghost
  bool lost_ TMEM_GUARDED_BY(mutex_) = false;    // since the last TakeSaved
  uint64_t hits_ TMEM_GUARDED_BY(mutex_) = 0;
  uint32_t stored_ TMEM_GUARDED_BY(mutex_) = 0;             // of the hits: ghosts no more
  double mean_charge_ TMEM_GUARDED_BY(mutex_) = kPageSize;  // bytes, of late
};

}  // namespace tmem

#endif  // TMEM_POOLS_GHOSTS_H_
