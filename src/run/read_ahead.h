// How many pages to bring in at a fault: one where faults look random, more where they go forward.
//
// A few streams are followed at once. A fault where a stream expects its next one doubles the
// stream's window. Owned by the fault loop's thread.
#ifndef TMEM_RUN_READ_AHEAD_H_
#define TMEM_RUN_READ_AHEAD_H_

#include <array>
#include <cstdint>

namespace tmem::run {

class ReadAhead {
 public:
  // `max_window` pages at most, the faulting one included; 1 turns reading ahead off.
  explicit ReadAhead(uint32_t max_window) : max_window_(max_window) {}

  // Pages that a fault on `page` should bring in, itself included: 1 to max_window. To be
  // followed by Brought().
  uint32_t WindowFor(uint32_t page);

  // The fault told last brought in `count` pages: the stream goes on after them.
  void Brought(uint32_t count);

 private:
  struct Stream {
    uint32_t next = 0;  // where the next fault is expected
    uint32_t window = 0;
    uint64_t last_used = 0;
  };
  // A fault this little past the expected page still belongs to the stream: programs skip.
  static constexpr uint32_t kSlack = 2;

  const uint32_t max_window_;
  std::array<Stream, 16> streams_{};
  Stream* current_ = &streams_[0];
  uint32_t page_ = 0;
  uint64_t now_ = 0;
};

}  // namespace tmem::run

#endif  // TMEM_RUN_READ_AHEAD_H_
