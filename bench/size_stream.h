// Pages as a store sees them over a long time: real ones, whose compressed sizes shift.
//
// The pages of all corpora stand in order of their size under LZ4. A phase draws from a part of
// that order: all of them, the smaller half, the larger half, those between,
// the largest quarter. A store that was filled by one phase meets other sizes in the next.
#ifndef TMEM_BENCH_SIZE_STREAM_H_
#define TMEM_BENCH_SIZE_STREAM_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "compress/page_codec.h"
#include "page_corpus.h"
#include "rounds.h"

namespace tmem {

class SizeStream {
 public:
  struct Sized {
    PageView page;
    uint32_t bytes;  // of the payload that LZ4 makes of it
  };
  static constexpr int kPhases = 6;

  explicit SizeStream(const std::vector<PageCorpus>& corpora) {
    PageCodec codec;
    for (const PageCorpus& corpus : corpora) {
      for (size_t i = 0; i < corpus.size(); ++i) {
        const Payload payload = codec.Compress(corpus.page(i), CompressMode::kFast);
        pages_.push_back({corpus.page(i), static_cast<uint32_t>(payload.bytes.size())});
      }
    }
    std::ranges::stable_sort(pages_, {}, &Sized::bytes);
  }

  // REQUIRES: 0 <= phase < kPhases. Phase 0 draws from all pages.
  const Sized& Draw(int phase, FastRandom& random) const {
    const Part part = kParts[static_cast<size_t>(phase)];
    const auto count = static_cast<uint32_t>(pages_.size());
    return pages_[count / 4 * part.first + random.Below(count / 4 * part.quarters)];
  }

 private:
  struct Part {
    uint32_t first;  // quarter
    uint32_t quarters;
  };
  static constexpr std::array<Part, kPhases> kParts = {
      {{0, 4}, {0, 2}, {2, 2}, {1, 2}, {3, 1}, {0, 4}}};

  std::vector<Sized> pages_;
};

}  // namespace tmem

#endif  // TMEM_BENCH_SIZE_STREAM_H_
