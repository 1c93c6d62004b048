// What pages of one kind have in common, so that a single one of them compresses well.
//
// A dictionary is trained on a guest's own pages, and a payload made with it can be read only with
// it: its owner keeps it as long as such a payload exists, and keeps its image() for a daemon that
// starts later.
//
// Immutable: any number of threads may compress and decompress with one at the same time.
#ifndef TMEM_COMPRESS_DICTIONARY_H_
#define TMEM_COMPRESS_DICTIONARY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/result.h"
#include "base/units.h"

// Of <lz4hc.h> and <zstd.h>, which only this room includes.
union LZ4_streamHC_u;
struct ZSTD_CDict_s;
struct ZSTD_DDict_s;

namespace tmem {

// How pages are compressed with a dictionary. docs/decisions/0002-zstd-parameters.md compares them.
enum class DenseCodec : uint8_t {
  kLz4,   // slow to compress, read back nearly as fast as pages without a dictionary
  kZstd,  // quick to compress, slower to read back; denser on anonymous pages
};

// "lz4", "zstd".
std::string_view ToString(DenseCodec codec);

// A dictionary's number among its owner's; kNoDictionary names none.
using DictionaryId = uint8_t;
inline constexpr DictionaryId kNoDictionary = 0;

class Dictionary {
 public:
  // Common bytes, at most: with a page they fill the 64 KiB that LZ4 can look back.
  static constexpr size_t kMaxContent = (size_t{64} << 10) - kPageSize;
  // Fewer samples give no dictionary; more than the greatest number are not looked at.
  static constexpr size_t kMinSamples = 128;
  static constexpr size_t kMaxSamples = 1024;

  // From pages one after the other. The same samples give the same dictionary. Takes some 100 ms
  // and some MiB. kInvalid if there are too few samples, or they have nothing in common.
  // REQUIRES: id != kNoDictionary.
  static Result<std::shared_ptr<const Dictionary>> Train(DictionaryId id,
                                                         std::span<const std::byte> samples,
                                                         DenseCodec codec);
  // From an image(), for reading only, or for compressing as well. kInvalid if it is not one, or is
  // damaged.
  static Result<std::shared_ptr<const Dictionary>> Load(
      std::span<const std::byte> image, std::optional<DenseCodec> codec = std::nullopt);
  ~Dictionary();
  Dictionary(const Dictionary&) = delete;
  Dictionary& operator=(const Dictionary&) = delete;

  DictionaryId id() const;
  // Tells it from any other, of the same id or not.
  uint64_t fingerprint() const;
  // With which pages are compressed; nullopt: this one only reads.
  std::optional<DenseCodec> codec() const { return codec_; }
  // The plain bytes that Load reads, little-endian: "tmemdict", version (u32), id (u32), length of
  // the body (u64), XXH3-64 of the body seeded with the id (u64); the body is a zstd dictionary.
  std::span<const std::byte> image() const;
  // Heap memory held.
  size_t bytes() const;

  // ---- for PageCodec ----

  std::span<const std::byte> content() const;
  const LZ4_streamHC_u* lz4_compressor() const;  // REQUIRES: codec() == kLz4
  const ZSTD_CDict_s* zstd_compressor() const;   // REQUIRES: codec() == kZstd
  const ZSTD_DDict_s* zstd_decompressor() const;

 private:
  struct Digest;
  Dictionary(std::unique_ptr<const Digest> digest, std::optional<DenseCodec> codec);

  const std::unique_ptr<const Digest> digest_;
  const std::optional<DenseCodec> codec_;
};

}  // namespace tmem

#endif  // TMEM_COMPRESS_DICTIONARY_H_
