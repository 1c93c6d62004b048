// libFuzzer: the first byte of the input is the codec's number, the rest is the payload. What
// decodes must decode again to the same page, and that page must survive every mode, with and
// without a dictionary.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "compress/guarded_bytes.h"
#include "compress/page_codec.h"
#include "compress/sample_dictionary.h"

namespace {

using namespace tmem;

constexpr CompressMode kModes[] = {CompressMode::kOff, CompressMode::kFast, CompressMode::kDense};

void Require(bool condition) {
  if (!condition) std::abort();
}

void CheckRoundTrip(PageCodec& page_codec, PageView page) {
  GuardedBytes out(kPageSize);
  const auto check = [&](CompressMode mode, const Dictionary* dictionary) {
    const Payload payload = page_codec.Compress(page, mode, dictionary);
    Require(page_codec.Decompress(payload.codec, payload.bytes, out.page(), dictionary));
    Require(std::ranges::equal(out.bytes(), page));
  };
  for (const CompressMode mode : kModes) check(mode, nullptr);
  for (const DenseCodec codec : {DenseCodec::kLz4, DenseCodec::kZstd}) {
    check(CompressMode::kDense, &SampleDictionary(codec));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static PageCodec page_codec;
  const Dictionary& dictionary = SampleDictionary(DenseCodec::kZstd);
  if (size == 0) return 0;
  const auto codec = static_cast<Codec>(data[0]);
  GuardedBytes payload(std::as_bytes(std::span(data + 1, size - 1)));
  GuardedBytes first(kPageSize);
  GuardedBytes second(kPageSize);
  std::ranges::fill(second.bytes(), std::byte{0xaa});

  const bool decodes = page_codec.Decompress(codec, payload.bytes(), first.page(), &dictionary);
  Require(page_codec.Decompress(codec, payload.bytes(), second.page(), &dictionary) == decodes);
  if (!decodes) return 0;
  Require(std::ranges::equal(first.bytes(), second.bytes()));
  CheckRoundTrip(page_codec, first.page());
  return 0;
}
