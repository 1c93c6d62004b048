// The candidate that was not chosen for the inside of segments: an append-only log with a cleaner.
// For bench_engine, which compares it with the slots that the store has (docs/decisions/0001).
//
// A payload goes to the end of the open segment, behind its header. What is replaced or freed
// leaves a hole. When few segments are free, the cleaner picks one by its policy, appends what
// still lives in it to a segment of its own, and frees it.
#ifndef TMEM_BENCH_LOG_ENGINE_H_
#define TMEM_BENCH_LOG_ENGINE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/units.h"
#include "engine.h"
#include "page_buffer.h"
#include "pools/segment.h"

namespace tmem {

class LogEngine final : public Engine {
 public:
  enum class Policy {
    kGreedy,       // the segment with the least living bytes
    kCostBenefit,  // room won x age over work, as in LFS
  };
  LogEngine(uint32_t segments, Policy policy);

  bool Put(uint32_t number, std::span<const std::byte> payload) override;
  void Free(uint32_t number) override;
  uint32_t segments_in_use() const override;

 private:
  using SegmentNumber = uint32_t;
  static constexpr SegmentNumber kNone = UINT32_MAX;
  static constexpr uint32_t kForCleaner = 2;  // free segments that puts leave alone
  struct Entry {
    uint32_t number;
    uint32_t start;
    uint32_t bytes;  // of the payload
    uint64_t written;
  };
  struct Segment {
    uint32_t end = 0;
    uint32_t living = 0;  // bytes
    uint64_t youngest = 0;
    bool closed = false;
    std::vector<Entry> entries;
  };
  struct Place {
    SegmentNumber segment = kNone;
    uint32_t entry = 0;
  };

  static uint32_t Taken(uint32_t payload_bytes);
  std::byte* At(SegmentNumber segment, uint32_t start);
  // False if the open segment is full, and fewer than `reserve` + 1 others are free.
  bool Append(SegmentNumber& open, uint32_t reserve, uint32_t number,
              std::span<const std::byte> payload, uint64_t written);
  SegmentNumber Choose() const;
  double Merit(const Segment& segment) const;
  // Copies `records` living ones; false if no segment has a hole.
  bool Clean(uint32_t records);

  const Policy policy_;
  PageBuffer memory_;
  std::vector<Segment> segments_;
  std::vector<SegmentNumber> free_;
  std::vector<Place> places_;  // by number
  SegmentNumber open_ = kNone;
  SegmentNumber cleaner_open_ = kNone;
  SegmentNumber victim_ = kNone;
  uint32_t next_entry_ = 0;  // of the victim
  uint64_t now_ = 0;         // puts so far
};

}  // namespace tmem

#endif  // TMEM_BENCH_LOG_ENGINE_H_
