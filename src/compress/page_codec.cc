#include "compress/page_codec.h"

#include <lz4.h>
#include <lz4hc.h>
// Frames without the magic number are still an advanced parameter of zstd; the shared library
// takes it like any other.
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/copy.h"

namespace tmem {

namespace {

constexpr size_t kWordSize = sizeof(uint64_t);
constexpr size_t kWords = kPageSize / kWordSize;
constexpr size_t kLine = 64;  // bytes of a cache line

struct FreeZstd {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};
using ZstdCompressor = std::unique_ptr<ZSTD_CCtx, FreeZstd>;
using ZstdDecompressor = std::unique_ptr<ZSTD_DCtx, FreeZstd>;

// The parameters are fixed and zstd 1.4 or later knows them all: a refusal is a library that this
// was not written for, and no payload could be trusted.
void MustSucceed(size_t zstd_result) {
  if (ZSTD_isError(zstd_result)) std::abort();
}

struct ZstdParameter {
  ZSTD_cParameter name;
  int value;
};

ZstdCompressor MakeZstdCompressor() {
  ZstdCompressor context(ZSTD_createCCtx());
  if (context == nullptr) throw std::bad_alloc();
  // The store knows what a payload is and how long its page: the frame need not say it again.
  const ZstdParameter parameters[] = {
      {ZSTD_c_format, ZSTD_f_zstd1_magicless},
      {ZSTD_c_contentSizeFlag, 0},
      {ZSTD_c_checksumFlag, 0},
      {ZSTD_c_dictIDFlag, 0},
  };
  for (const auto& [name, value] : parameters) {
    MustSucceed(ZSTD_CCtx_setParameter(context.get(), name, value));
  }
  return context;
}

ZstdCompressor MakeZstdCompressor(int level) {
  ZstdCompressor context = MakeZstdCompressor();
  MustSucceed(ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel,
                                     std::clamp(level, ZSTD_minCLevel(), ZSTD_maxCLevel())));
  // zstd allocates its tables on first use. Done here, the data path never allocates.
  const std::array<std::byte, kPageSize> page{};
  std::array<std::byte, ZSTD_COMPRESSBOUND(kPageSize)> out;
  const size_t size =
      ZSTD_compress2(context.get(), out.data(), out.size(), page.data(), page.size());
  if (ZSTD_isError(size)) throw std::bad_alloc();
  return context;
}

// Level and tables come with each dictionary.
ZstdCompressor MakeZstdDictionaryCompressor() {
  ZstdCompressor context = MakeZstdCompressor();
  MustSucceed(
      ZSTD_CCtx_setParameter(context.get(), ZSTD_c_literalCompressionMode, ZSTD_ps_disable));
  return context;
}

ZstdDecompressor MakeZstdDecompressor() {
  ZstdDecompressor context(ZSTD_createDCtx());
  if (context == nullptr) throw std::bad_alloc();
  MustSucceed(ZSTD_DCtx_setParameter(context.get(), ZSTD_d_format, ZSTD_f_zstd1_magicless));
  return context;
}

// The only frames we write, and so the only ones we hand to zstd: one compressed block that ends
// where the payload ends (RFC 8878, section 3.1.1). zstd 1.5.4 reads up to three bytes beyond a
// payload whose frame ends before it does.
bool IsPageFrame(std::span<const std::byte> payload) {
  constexpr size_t kHeaderSize = 5;  // frame descriptor, window descriptor, block header
  constexpr uint32_t kLastBlock = 1;
  constexpr uint32_t kCompressedBlock = 2 << 1;
  if (payload.size() <= kHeaderSize || payload[0] != std::byte{0}) return false;
  const auto byte = [&](size_t i) { return std::to_integer<uint32_t>(payload[i]); };
  const uint32_t block = byte(2) | byte(3) << 8 | byte(4) << 16;
  return (block & 7) == (kLastBlock | kCompressedBlock) &&
         block >> 3 == payload.size() - kHeaderSize;
}

uint64_t WordAt(PageView page, size_t index) {
  uint64_t word;
  std::memcpy(&word, page.data() + index * kWordSize, kWordSize);
  return word;
}

void Fill(uint64_t word, MutablePageView out) {
  for (size_t i = 0; i < kWords; ++i) std::memcpy(out.data() + i * kWordSize, &word, kWordSize);
}

}  // namespace

struct PageCodec::Contexts {
  explicit Contexts(const Config& config)
      : zstd_compressor(MakeZstdCompressor(config.zstd_level)),
        zstd_dictionary_compressor(MakeZstdDictionaryCompressor()),
        zstd_decompressor(MakeZstdDecompressor()) {}

  // Bytes written to `room`, or 0 if the page does not shrink to kMaxCompressed. The codecs are
  // given no more room than that, so that they give up early.
  size_t CompressLz4(CompressRoom room, PageView page) {
    const int size = LZ4_compress_fast_extState(
        &lz4_state, reinterpret_cast<const char*>(page.data()),
        reinterpret_cast<char*>(room.data()), kPageSize, kMaxCompressed, /*acceleration=*/1);
    return static_cast<size_t>(std::max(size, 0));
  }
  static size_t CompressZstd(CompressRoom room, PageView page, ZSTD_CCtx* compressor) {
    const size_t size =
        ZSTD_compress2(compressor, room.data(), room.size(), page.data(), page.size());
    if (ZSTD_isError(size) || !IsPageFrame(room.first(size))) return 0;
    return size;
  }
  size_t CompressZstd(CompressRoom room, PageView page, const Dictionary& dictionary) {
    ZSTD_CCtx* const compressor = zstd_dictionary_compressor.get();
    // A page that did not fit leaves its session open. Nothing else of it is used: a dictionary
    // that has gone by now is replaced before zstd looks at it.
    MustSucceed(ZSTD_CCtx_reset(compressor, ZSTD_reset_session_only));
    MustSucceed(ZSTD_CCtx_refCDict(compressor, dictionary.zstd_compressor()));
    return CompressZstd(room, page, compressor);
  }
  size_t CompressLz4(CompressRoom room, PageView page, const Dictionary& dictionary) {
    // The state as it is behind the dictionary's content. LZ4 can also refer to it instead of
    // copying it, which is not faster by much, but not in Debian 12's shared library.
    std::memcpy(&lz4_dictionary_state, dictionary.lz4_compressor(), sizeof lz4_dictionary_state);
    const int size =
        LZ4_compress_HC_continue(&lz4_dictionary_state, reinterpret_cast<const char*>(page.data()),
                                 reinterpret_cast<char*>(room.data()), kPageSize, kMaxCompressed);
    return static_cast<size_t>(std::max(size, 0));
  }
  // kRaw, and no bytes, if the page does not shrink.
  Payload CompressDense(CompressRoom room, PageView page, const Dictionary* dictionary) {
    size_t size = 0;
    Codec codec = Codec::kZstd;
    if (dictionary == nullptr) {
      size = CompressZstd(room, page, zstd_compressor.get());
    } else if (dictionary->codec() == DenseCodec::kZstd) {
      codec = Codec::kZstdDictionary;
      size = CompressZstd(room, page, *dictionary);
    } else {
      codec = Codec::kLz4Dictionary;
      size = CompressLz4(room, page, *dictionary);
    }
    if (size == 0) return {Codec::kRaw, {}};
    return {codec, room.first(size), dictionary != nullptr ? dictionary->id() : kNoDictionary};
  }

  bool DecompressZstd(std::span<const std::byte> payload, MutablePageView out,
                      const ZSTD_DDict* dictionary) {
    return payload.size() <= kMaxCompressed && IsPageFrame(payload) &&
           ZSTD_decompress_usingDDict(zstd_decompressor.get(), out.data(), kPageSize,
                                      payload.data(), payload.size(), dictionary) == kPageSize;
  }

  // Aligned to cache lines: LZ4 clears its 16 KiB table for each page, by vectors of a line.
  alignas(kLine) std::array<std::byte, kMaxCompressed> scratch;
  alignas(kLine) LZ4_stream_t lz4_state;
  const ZstdCompressor zstd_compressor;
  const ZstdCompressor zstd_dictionary_compressor;
  const ZstdDecompressor zstd_decompressor;
  LZ4_streamHC_t lz4_dictionary_state;
};

PageCodec::PageCodec(const Config& config) : contexts_(std::make_unique<Contexts>(config)) {}
PageCodec::~PageCodec() = default;
PageCodec::PageCodec(PageCodec&&) noexcept = default;
PageCodec& PageCodec::operator=(PageCodec&&) noexcept = default;

Payload PageCodec::Compress(PageView page, CompressMode mode, const Dictionary* dictionary) {
  return CompressInto(contexts_->scratch, page, mode, dictionary);
}

Payload PageCodec::CompressInto(CompressRoom room, PageView page, CompressMode mode,
                                const Dictionary* dictionary) {
  if (const auto word = SameFilledWord(page)) {
    std::memcpy(room.data(), &*word, kWordSize);
    return {Codec::kSameFilled, room.first(kWordSize)};
  }
  if (mode == CompressMode::kFast && !LooksLikeNoise(page)) {
    if (const size_t size = contexts_->CompressLz4(room, page)) {
      return {Codec::kLz4, room.first(size)};
    }
  } else if (mode == CompressMode::kDense) {
    const Payload payload = contexts_->CompressDense(room, page, dictionary);
    if (payload.codec != Codec::kRaw) return payload;
  }
  return {Codec::kRaw, page};
}

bool PageCodec::Decompress(Codec codec, std::span<const std::byte> payload, MutablePageView out,
                           const Dictionary* dictionary) {
  switch (codec) {
    case Codec::kRaw:
      if (payload.size() != kPageSize) return false;
      Copy(out.data(), payload.data(), kPageSize);
      return true;
    case Codec::kSameFilled: {
      if (payload.size() != kWordSize) return false;
      uint64_t word;
      std::memcpy(&word, payload.data(), kWordSize);
      Fill(word, out);
      return true;
    }
    case Codec::kLz4:
      return payload.size() <= kMaxCompressed &&
             LZ4_decompress_safe(reinterpret_cast<const char*>(payload.data()),
                                 reinterpret_cast<char*>(out.data()),
                                 static_cast<int>(payload.size()), kPageSize) == kPageSize;
    case Codec::kZstd:
      return contexts_->DecompressZstd(payload, out, nullptr);
    case Codec::kLz4Dictionary: {
      if (dictionary == nullptr || payload.size() > kMaxCompressed) return false;
      const std::span<const std::byte> content = dictionary->content();
      return LZ4_decompress_safe_usingDict(reinterpret_cast<const char*>(payload.data()),
                                           reinterpret_cast<char*>(out.data()),
                                           static_cast<int>(payload.size()), kPageSize,
                                           reinterpret_cast<const char*>(content.data()),
                                           static_cast<int>(content.size())) == kPageSize;
    }
    case Codec::kZstdDictionary:
      return dictionary != nullptr &&
             contexts_->DecompressZstd(payload, out, dictionary->zstd_decompressor());
  }
  return false;  // a number that no Codec has: the record it came from is corrupt
}

std::optional<uint64_t> SameFilledWord(PageView page) {
  // Most pages differ within these words, and cost no call. One after the other, so that most cost
  // no wait but for the first line, with which any codec begins.
  const uint64_t word = WordAt(page, 0);
  if (__builtin_expect(word != WordAt(page, 1), 1)) return std::nullopt;
  if (word != WordAt(page, kWords / 2) || word != WordAt(page, kWords - 1)) return std::nullopt;
  // All words are equal if the page equals itself one word on. memcmp picks the widest vectors
  // that this processor has.
  const size_t rest = kPageSize - kWordSize;
  if (std::memcmp(page.data(), page.data() + kWordSize, rest) != 0) return std::nullopt;
  return word;
}

namespace {

// How many values so many of the bytes have, one from each equal part of them, each at another
// place in each.
template <size_t kSamples>
size_t CountValues(std::span<const std::byte> bytes) {
  const size_t part = bytes.size() / kSamples;
  std::array<bool, 256> seen{};
  size_t values = 0;
  for (size_t i = 0; i < kSamples; ++i) {
    bool& before = seen[std::to_integer<uint8_t>(bytes[i * part + i * 5 % part])];
    values += before ? 0 : 1;
    before = true;
  }
  return values;
}

}  // namespace

bool LooksLikeNoise(PageView page) {
  // First in the line that LZ4 begins with, and a few bytes of it at that: enough for nearly all
  // pages that it shrinks. Of noise, 8 bytes have fewer than 7 values once in 250 pages, 32 fewer
  // than 26 once in 1,100, 64 fewer than 50 once in 640.
  const std::span line = page.first<kLine>();
  if (CountValues<8>(line) < 7 || CountValues<32>(line) < 26 || CountValues<64>(page) < 50) {
    return false;
  }
  for (size_t distance = 1; distance < kWords; distance *= 2) {
    if (WordAt(page, 0) == WordAt(page, distance)) return false;
  }
  return true;
}

std::string_view ToString(CompressMode mode) {
  switch (mode) {
    case CompressMode::kOff:
      return "off";
    case CompressMode::kFast:
      return "fast";
    case CompressMode::kDense:
      return "dense";
    case CompressMode::kAuto:
      return "auto";
  }
  return "unknown";
}

std::optional<CompressMode> ParseCompressMode(std::string_view text) {
  for (const auto mode :
       {CompressMode::kOff, CompressMode::kFast, CompressMode::kDense, CompressMode::kAuto}) {
    if (text == ToString(mode)) return mode;
  }
  return std::nullopt;
}

std::string_view ToString(Codec codec) {
  switch (codec) {
    case Codec::kRaw:
      return "raw";
    case Codec::kSameFilled:
      return "same-filled";
    case Codec::kLz4:
      return "lz4";
    case Codec::kZstd:
      return "zstd";
    case Codec::kLz4Dictionary:
      return "lz4-dictionary";
    case Codec::kZstdDictionary:
      return "zstd-dictionary";
  }
  return "unknown";
}

}  // namespace tmem
