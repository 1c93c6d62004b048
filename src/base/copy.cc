#include "base/copy.h"

#include <cstdint>
#include <cstring>

#include "base/touch.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tmem {

namespace {

// memcpy may not be called for nothing with pointers to nowhere.
void CopyBytes(std::byte* to, const std::byte* from, size_t size) {
  if (size != 0) std::memcpy(to, from, size);
}

constexpr size_t kLine = 64;

}  // namespace

#if defined(__x86_64__)

namespace {

enum class Store { kCached, kStreaming };

// Copies whole cache lines; `to` is aligned to one if the stores are streaming.
using CopyLines = void (*)(std::byte* to, const std::byte* from, size_t lines);

template <Store store>
__attribute__((target("avx512f"))) void CopyLinesAvx512(std::byte* to, const std::byte* from,
                                                        size_t lines) {
  for (size_t i = 0; i < lines; ++i, to += kLine, from += kLine) {
    const __m512i line = _mm512_loadu_si512(from);
    if constexpr (store == Store::kStreaming) {
      _mm512_stream_si512(reinterpret_cast<__m512i*>(to), line);
    } else {
      _mm512_storeu_si512(to, line);
    }
  }
}

template <Store store>
void CopyLinesSse2(std::byte* to, const std::byte* from, size_t lines) {
  constexpr size_t kVector = sizeof(__m128i);
  for (size_t i = 0; i < lines * (kLine / kVector); ++i, to += kVector, from += kVector) {
    const __m128i part = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    if constexpr (store == Store::kStreaming) {
      _mm_stream_si128(reinterpret_cast<__m128i*>(to), part);
    } else {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to), part);
    }
  }
}

bool HasAvx512() { return __builtin_cpu_supports("avx512f") != 0; }

const CopyLines kCopyLines =
    HasAvx512() ? &CopyLinesAvx512<Store::kCached> : &CopyLinesSse2<Store::kCached>;
const CopyLines kStreamLines =
    HasAvx512() ? &CopyLinesAvx512<Store::kStreaming> : &CopyLinesSse2<Store::kStreaming>;

}  // namespace

void Copy(std::byte* to, const std::byte* from, size_t size) {
  const size_t whole = size / kLine * kLine;
  kCopyLines(to, from, whole / kLine);
  CopyBytes(to + whole, from + whole, size - whole);
}

void StreamingCopy(std::byte* to, const std::byte* from, size_t size) {
  // Ends that are not whole lines are copied as usual.
  const size_t head = (kLine - reinterpret_cast<uintptr_t>(to) % kLine) % kLine;
  if (size < head + kLine) {
    CopyBytes(to, from, size);
    return;
  }
  CopyBytes(to, from, head);
  const size_t whole = (size - head) / kLine * kLine;
  kStreamLines(to + head, from + head, whole / kLine);
  CopyBytes(to + head + whole, from + head + whole, size - head - whole);
}

void StreamingFence() { _mm_sfence(); }

#else

void Copy(std::byte* to, const std::byte* from, size_t size) { CopyBytes(to, from, size); }

void StreamingCopy(std::byte* to, const std::byte* from, size_t size) { CopyBytes(to, from, size); }

void StreamingFence() {}

#endif

void PrepareStreamingCopy(const std::byte* to, size_t size) {
  if (size == 0) return;
  // Within the destination: what lies behind it may be another thread's, or nobody's.
  if (reinterpret_cast<uintptr_t>(to) % kLine != 0) Touch(to);
  if (reinterpret_cast<uintptr_t>(to + size) % kLine != 0) Touch(to + size - 1);
}

}  // namespace tmem
