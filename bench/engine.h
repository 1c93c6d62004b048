// What keeps payloads in segments, stripped of all else: what bench_engine compares.
#ifndef TMEM_BENCH_ENGINE_H_
#define TMEM_BENCH_ENGINE_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace tmem {

class Engine {
 public:
  // Both engines make room at the same pace: a put moves kMovedAPut records while fewer than
  // kFewFree segments are free, and more only if there is no room for it else.
  static constexpr uint32_t kFewFree = 4;
  static constexpr uint32_t kMovedAPut = 16;

  virtual ~Engine() = default;
  // Stores a copy under a number, in place of what that has. False, and nothing is stored under it,
  // if there is no room.
  virtual bool Put(uint32_t number, std::span<const std::byte> payload) = 0;
  // REQUIRES: something is stored under the number.
  virtual void Free(uint32_t number) = 0;
  virtual uint32_t segments_in_use() const = 0;

  // Of payloads that were moved to make room, so far.
  uint64_t moved_bytes() const { return moved_bytes_; }

 protected:
  uint64_t moved_bytes_ = 0;
};

}  // namespace tmem

#endif  // TMEM_BENCH_ENGINE_H_
