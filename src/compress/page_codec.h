// Bytes of a page in, bytes of a payload out, and back.
//
// The store asks for a CompressMode and keeps the Codec that came out of it beside the payload, and
// which dictionary it took. A page whose 512 words are all equal becomes one word whatever the
// mode. A page that does not shrink to kMaxCompressed bytes stays raw: above that the slot saved is
// not worth the work. LZ4 is not even tried on what looks like noise.
//
// Payloads read back from a segment are not trusted: Decompress fails on any that do not decode to
// exactly one page, and never reads or writes outside what it was given. A page that it does
// deliver depends on the payload alone, never on what `out` held before.
#ifndef TMEM_COMPRESS_PAGE_CODEC_H_
#define TMEM_COMPRESS_PAGE_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/units.h"
#include "compress/dictionary.h"

namespace tmem {

// How a payload is encoded. The numbers are part of the store's record format: never reused.
enum class Codec : uint8_t {
  kRaw = 1,             // 4,096 bytes
  kSameFilled = 2,      // 8 bytes: the word that fills the page
  kLz4 = 3,             // one LZ4 block
  kZstd = 4,            // one zstd frame of one block: no magic number, content size, checksum
  kLz4Dictionary = 5,   // as kLz4, behind the dictionary's content
  kZstdDictionary = 6,  // as kZstd, and literals are left raw
};

// False for bytes that name none.
constexpr bool IsCodec(Codec codec) {
  return codec >= Codec::kRaw && codec <= Codec::kZstdDictionary;
}

constexpr bool NeedsDictionary(Codec codec) {
  return codec == Codec::kLz4Dictionary || codec == Codec::kZstdDictionary;
}

// What CompressMode::kDense makes.
constexpr bool IsDense(Codec codec) { return codec == Codec::kZstd || NeedsDictionary(codec); }

// What an administrator chooses, per guest and per class of pool.
enum class CompressMode : uint8_t {
  kOff,    // raw, or same-filled
  kFast,   // LZ4
  kDense,  // with a dictionary if there is one, else zstd
  kAuto,   // as kOff; whoever stores the page compresses it a little later
};

// "off", "fast", "dense", "auto".
std::string_view ToString(CompressMode mode);
std::optional<CompressMode> ParseCompressMode(std::string_view text);
// "raw", "same-filled", "lz4", "zstd", "lz4-dictionary", "zstd-dictionary".
std::string_view ToString(Codec codec);

// Payloads above this many bytes are kept raw.
inline constexpr size_t kMaxCompressed = 3072;

// Where a payload goes that is not raw.
using CompressRoom = std::span<std::byte, kMaxCompressed>;

struct Payload {
  Codec codec;
  std::span<const std::byte> bytes;
  DictionaryId dictionary = kNoDictionary;  // unless NeedsDictionary(codec)
};

// The compression contexts and scratch memory of one thread, about 500 KiB at the
// default level, all of it allocated by the constructor. Not thread-safe; movable. A codec that was
// moved from may only be assigned to or destroyed.
class PageCodec {
 public:
  struct Config {
    // Without a dictionary. ZSTD_minCLevel() .. ZSTD_maxCLevel();
    // docs/decisions/0002-zstd-parameters.md says why 3.
    int zstd_level = 3;
  };

  // Throws std::bad_alloc: a thread without its codec cannot start. Levels outside the range are
  // taken as the nearest inside.
  PageCodec() : PageCodec(Config{}) {}
  explicit PageCodec(const Config& config);
  ~PageCodec();
  PageCodec(PageCodec&&) noexcept;
  PageCodec& operator=(PageCodec&&) noexcept;

  // Cannot fail: what does not compress comes back raw. The payload's bytes lie in this codec's
  // scratch (valid until its next Compress, or its end), or are the page itself (kRaw).
  // `dictionary`, which may be nullptr, is for kDense.
  // REQUIRES: nobody writes to `page` meanwhile; the dictionary was made for compressing.
  Payload Compress(PageView page, CompressMode mode, const Dictionary* dictionary = nullptr);
  // The same, with the payload's bytes in `room` unless they are the page itself.
  Payload CompressInto(CompressRoom room, PageView page, CompressMode mode,
                       const Dictionary* dictionary = nullptr);

  // Decodes into `out`, with the dictionary of the payload's id if it NeedsDictionary. False if the
  // payload is not a valid encoding of one page; `out` is then unspecified. With another dictionary
  // than it was made with, a payload may decode to another page: who stores it sees to that.
  // Takes time bounded by the sizes of payload and page, whatever the payload holds.
  // REQUIRES: `payload` and `out` do not overlap, and nobody writes to `payload` meanwhile.
  [[nodiscard]] bool Decompress(Codec codec, std::span<const std::byte> payload,
                                MutablePageView out, const Dictionary* dictionary = nullptr);

 private:
  struct Contexts;
  std::unique_ptr<Contexts> contexts_;
};

// The word that fills the whole page, if one does. A few nanoseconds for most pages that differ.
std::optional<uint64_t> SameFilledWord(PageView page);

// Whether the page looks like the output of a compressor or a cipher, in which LZ4 finds nothing:
// most of 64 bytes from all over it differ, and it does not repeat itself at a distance that is a
// power of two, from a word on. Never true of a page with a run of 1,088 equal bytes. Costs little
// beside LZ4 (docs/decisions/0009-pages-that-lz4-is-spared.md).
bool LooksLikeNoise(PageView page);

}  // namespace tmem

#endif  // TMEM_COMPRESS_PAGE_CODEC_H_
