// Which pages are put, replaced and flushed, when a store is kept as full as it is for a long time.
//
// Filling puts new pages. Churning replaces pages and adds new ones in equal parts, and flushes so
// many that the sum of payloads stays what it was when churning began. All pages are picked at
// random. Who executes the operations tells whether each put was stored.
#ifndef TMEM_BENCH_CHURN_H_
#define TMEM_BENCH_CHURN_H_

#include <cstdint>
#include <vector>

#include "rounds.h"
#include "size_stream.h"

namespace tmem {

class Churn {
 public:
  explicit Churn(const SizeStream& stream) : stream_(stream) {}

  uint64_t payload_bytes() const { return payload_bytes_; }  // of all pages stored
  uint64_t put_bytes() const { return put_bytes_; }          // of all puts so far
  size_t pages() const { return stored_.size(); }
  // As many as there ever were at a time: pages have numbers below this.
  uint32_t numbers() const { return static_cast<uint32_t>(bytes_.size()); }

  // Puts one new page by `put(number, sized)`, which returns whether it was stored.
  template <class Put>
  void Fill(Put&& put) {
    PutNew(0, put);
  }
  // One put, and `flush(number)` as often as it takes.
  template <class Put, class Flush>
  void Step(int phase, uint64_t most_payload_bytes, Put&& put, Flush&& flush) {
    if (random_.Below(2) == 0 && !stored_.empty()) {
      const uint32_t place = random_.Below(static_cast<uint32_t>(stored_.size()));
      Execute(phase, stored_[place], place, put);
    } else {
      PutNew(phase, put);
    }
    while (payload_bytes_ > most_payload_bytes) {
      const uint32_t place = random_.Below(static_cast<uint32_t>(stored_.size()));
      flush(stored_[place]);
      Forget(place);
    }
  }

 private:
  template <class Put>
  void PutNew(int phase, Put&& put) {
    if (free_.empty()) {
      free_.push_back(static_cast<uint32_t>(bytes_.size()));
      bytes_.push_back(0);
    }
    const uint32_t which = random_.Below(static_cast<uint32_t>(free_.size()));
    const uint32_t number = free_[which];
    free_[which] = free_.back();
    free_.pop_back();
    stored_.push_back(number);
    Execute(phase, number, static_cast<uint32_t>(stored_.size() - 1), put);
  }
  template <class Put>
  void Execute(int phase, uint32_t number, uint32_t place, Put&& put) {
    const SizeStream::Sized& sized = stream_.Draw(phase, random_);
    payload_bytes_ -= bytes_[number];
    put_bytes_ += sized.bytes;
    bytes_[number] = sized.bytes;
    payload_bytes_ += sized.bytes;
    if (!put(number, sized)) Forget(place);
  }
  void Forget(uint32_t place) {
    const uint32_t number = stored_[place];
    payload_bytes_ -= bytes_[number];
    bytes_[number] = 0;
    free_.push_back(number);
    stored_[place] = stored_.back();
    stored_.pop_back();
  }

  const SizeStream& stream_;
  FastRandom random_{1};
  uint64_t payload_bytes_ = 0;
  uint64_t put_bytes_ = 0;
  std::vector<uint32_t> bytes_;   // by number; 0: not stored
  std::vector<uint32_t> stored_;  // numbers, in no order
  std::vector<uint32_t> free_;    // likewise
};

}  // namespace tmem

#endif  // TMEM_BENCH_CHURN_H_
