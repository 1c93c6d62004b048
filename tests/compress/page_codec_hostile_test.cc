// Payloads that no Compress wrote: each is refused or decodes to one page that depends on nothing
// but the payload, and no byte outside payload and page is touched.
#include <gtest/gtest.h>
#include <lz4.h>
#include <rapidcheck/gtest.h>
#include <xxhash.h>
#define ZSTD_STATIC_LINKING_ONLY  // frames without the magic number
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include "compress/guarded_bytes.h"
#include "compress/page_codec.h"
#include "compress/page_kinds.h"
#include "compress/sample_dictionary.h"

namespace tmem {
namespace {

using ByteVector = std::vector<std::byte>;

// Some dictionary for those codecs that need one; those that do not must not look at it.
const Dictionary& ADictionary() { return SampleDictionary(DenseCodec::kLz4); }

// The page, if the payload is accepted. Decodes twice over different old contents, and fails the
// test if anything of them shows.
std::optional<Page> Decoded(Codec codec, std::span<const std::byte> payload) {
  static PageCodec page_codec;
  const GuardedBytes input(payload);
  std::array<std::optional<Page>, 2> results;
  for (size_t i = 0; i < results.size(); ++i) {
    const GuardedBytes out(kPageSize);
    std::ranges::fill(out.bytes(), static_cast<std::byte>(i == 0 ? 0x55 : 0xaa));
    if (page_codec.Decompress(codec, input.bytes(), out.page(), &ADictionary())) {
      results[i].emplace();
      std::ranges::copy(out.bytes(), results[i]->begin());
    }
  }
  EXPECT_EQ(results[0], results[1]) << "decoding left old bytes in the page";
  return results[0];
}

struct Valid {
  Codec codec;
  ByteVector payload;
  Page page;
};

Valid AnyValid() {
  static PageCodec writer;
  const auto mode =
      *rc::gen::element(CompressMode::kOff, CompressMode::kFast, CompressMode::kDense);
  const Page page = MakePage(*AnyPageKind(), *rc::gen::arbitrary<uint64_t>());
  const auto* const dictionary = *rc::gen::element<const Dictionary*>(
      nullptr, &ADictionary(), &SampleDictionary(DenseCodec::kZstd));
  const Payload payload = writer.Compress(page, mode, dictionary);
  return {payload.codec, {payload.bytes.begin(), payload.bytes.end()}, page};
}

Codec AnyCodec() {
  return *rc::gen::element(Codec::kRaw, Codec::kSameFilled, Codec::kLz4, Codec::kZstd,
                           Codec::kLz4Dictionary, Codec::kZstdDictionary);
}

RC_GTEST_PROP(HostilePayload, TruncatedIsRefused, ()) {
  const Valid valid = AnyValid();
  const auto kept = *rc::gen::inRange<size_t>(0, valid.payload.size());
  RC_ASSERT(!Decoded(valid.codec, std::span(valid.payload).first(kept)));
}

RC_GTEST_PROP(HostilePayload, ExtendedIsRefused, ()) {
  Valid valid = AnyValid();
  const auto more = *rc::gen::nonEmpty(rc::gen::arbitrary<std::vector<uint8_t>>());
  for (const uint8_t byte : more) valid.payload.push_back(static_cast<std::byte>(byte));
  RC_ASSERT(!Decoded(valid.codec, valid.payload));
}

RC_GTEST_PROP(HostilePayload, MutatedIsRefusedOrGivesOnePage, ()) {
  constexpr int kVariants = 20;
  const Valid valid = AnyValid();
  for (int variant = 0; variant < kVariants; ++variant) {
    ByteVector payload = valid.payload;
    const auto changes = *rc::gen::inRange(1, 8);
    for (int i = 0; i < changes; ++i) {
      // Half of the changes hit the headers and the tables, which stand in front.
      const auto end = *rc::gen::element<size_t>(payload.size(), std::min(payload.size(), 64ul));
      payload[*rc::gen::inRange<size_t>(0, end)] =
          static_cast<std::byte>(*rc::gen::arbitrary<uint8_t>());
    }
    (void)Decoded(valid.codec, payload);
  }
}

RC_GTEST_PROP(HostilePayload, ReadWithTheWrongCodecIsRefusedOrGivesOnePage, ()) {
  const Valid valid = AnyValid();
  RC_CLASSIFY(Decoded(AnyCodec(), valid.payload).has_value(), "decodes");
}

RC_GTEST_PROP(HostilePayload, RandomBytesAreRefusedOrGiveOnePage, ()) {
  const auto size = *rc::gen::inRange<size_t>(0, kPageSize + 64);
  const Page random = MakePage(PageKind::kRandom, *rc::gen::arbitrary<uint64_t>());
  ByteVector payload(size);
  for (size_t i = 0; i < size; ++i) payload[i] = random[i % kPageSize];
  RC_CLASSIFY(Decoded(AnyCodec(), payload).has_value(), "decodes");
}

TEST(HostilePayload, UnknownCodecNumbersAreRefused) {
  const Page page = MakePage(PageKind::kText, 1);
  for (int number = 0; number < 256; ++number) {
    if (number >= 1 && number <= 6) continue;
    EXPECT_EQ(Decoded(static_cast<Codec>(number), page), std::nullopt) << number;
  }
}

TEST(HostilePayload, RawAndSameFilledHaveOneSizeEach) {
  const ByteVector bytes(2 * kPageSize, std::byte{1});
  for (size_t size = 0; size <= bytes.size(); ++size) {
    const auto payload = std::span(bytes).first(size);
    ASSERT_EQ(Decoded(Codec::kRaw, payload).has_value(), size == kPageSize) << size;
    ASSERT_EQ(Decoded(Codec::kSameFilled, payload).has_value(), size == sizeof(uint64_t)) << size;
  }
}

TEST(HostilePayload, NothingIsRefused) {
  for (const Codec codec : {Codec::kRaw, Codec::kSameFilled, Codec::kLz4, Codec::kZstd,
                            Codec::kLz4Dictionary, Codec::kZstdDictionary}) {
    EXPECT_EQ(Decoded(codec, {}), std::nullopt) << ToString(codec);
  }
}

TEST(HostilePayload, WithoutItsDictionaryIsRefused) {
  PageCodec page_codec;
  const Page page = MakePage(PageKind::kText, 1);
  for (const DenseCodec dense : {DenseCodec::kLz4, DenseCodec::kZstd}) {
    const Payload payload =
        page_codec.Compress(page, CompressMode::kDense, &SampleDictionary(dense));
    Page out;
    EXPECT_FALSE(page_codec.Decompress(payload.codec, payload.bytes, out)) << ToString(dense);
  }
}

// With a dictionary it was not made with, a payload may decode, but only to what that and the
// payload hold.
RC_GTEST_PROP(HostilePayload, WithAnotherDictionaryIsRefusedOrGivesOnePage, ()) {
  static PageCodec writer;
  const auto dense = *rc::gen::element(DenseCodec::kLz4, DenseCodec::kZstd);
  const Page page = MakePage(*AnyPageKind(), *rc::gen::arbitrary<uint64_t>());
  const Payload payload =
      writer.Compress(page, CompressMode::kDense, &SampleDictionary(dense, /*id=*/8));
  RC_CLASSIFY(Decoded(payload.codec, payload.bytes).has_value(), "decodes");
}

// Images with a right checksum whose inside nobody trained.
RC_GTEST_PROP(HostileDictionary, IsRefusedOrHarmless, ()) {
  static PageCodec page_codec;
  ByteVector image(ADictionary().image().begin(), ADictionary().image().end());
  constexpr size_t kHeaderSize = 32;
  const auto changes = *rc::gen::inRange(0, 16);
  for (int i = 0; i < changes; ++i) {
    // Most hit the entropy tables, which stand in front.
    const auto end = *rc::gen::element<size_t>(image.size(), kHeaderSize + 200);
    image[*rc::gen::inRange<size_t>(kHeaderSize, end)] =
        static_cast<std::byte>(*rc::gen::arbitrary<uint8_t>());
  }
  const auto kept = *rc::gen::element<size_t>(image.size(), image.size(), kHeaderSize + 300,
                                              kHeaderSize + 8, kHeaderSize);
  image.resize(kept);
  const uint64_t length = kept - kHeaderSize;
  const uint64_t checksum =
      XXH3_64bits_withSeed(image.data() + kHeaderSize, length, ADictionary().id());
  std::memcpy(image.data() + 16, &length, sizeof length);
  std::memcpy(image.data() + 24, &checksum, sizeof checksum);

  const auto codec = *rc::gen::element(DenseCodec::kLz4, DenseCodec::kZstd);
  const GuardedBytes guarded(image);
  const auto dictionary = Dictionary::Load(guarded.bytes(), codec);
  RC_CLASSIFY(dictionary.has_value(), "loads");
  if (!dictionary) return;
  const Page page = MakePage(*AnyPageKind(), *rc::gen::arbitrary<uint64_t>());
  const Payload payload = page_codec.Compress(page, CompressMode::kDense, dictionary->get());
  const GuardedBytes out(kPageSize);
  RC_ASSERT(page_codec.Decompress(payload.codec, payload.bytes, out.page(), dictionary->get()));
  RC_ASSERT(std::ranges::equal(out.bytes(), page));
}

ByteVector Lz4Block(const ByteVector& content) {
  ByteVector out(2 * content.size());
  const int size = LZ4_compress_default(
      reinterpret_cast<const char*>(content.data()), reinterpret_cast<char*>(out.data()),
      static_cast<int>(content.size()), static_cast<int>(out.size()));
  out.resize(static_cast<size_t>(size));
  return out;
}

struct FrameOptions {
  bool magic = false;
  bool content_size = false;
  bool checksum = false;
};

ByteVector ZstdFrame(const ByteVector& content, FrameOptions options) {
  ByteVector out(ZSTD_compressBound(content.size()));
  ZSTD_CCtx* const context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_format,
                         options.magic ? ZSTD_f_zstd1 : ZSTD_f_zstd1_magicless);
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, options.content_size);
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, options.checksum);
  out.resize(ZSTD_compress2(context, out.data(), out.size(), content.data(), content.size()));
  ZSTD_freeCCtx(context);
  return out;
}

TEST(HostilePayload, ContentThatIsNotOnePageLongIsRefused) {
  for (const size_t size : {1ul, kPageSize - 1, kPageSize + 1, 2 * kPageSize, 100'000ul}) {
    ByteVector content(size, std::byte{9});
    content[size / 2] = std::byte{8};
    EXPECT_EQ(Decoded(Codec::kLz4, Lz4Block(content)), std::nullopt) << size;
    for (const bool content_size : {false, true}) {
      EXPECT_EQ(Decoded(Codec::kZstd, ZstdFrame(content, {.content_size = content_size})),
                std::nullopt)
          << size;
    }
  }
}

// Valid frames of one page all, but none that Compress writes.
TEST(HostilePayload, OtherZstdFramesAreRefused) {
  const Page page = MakePage(PageKind::kText, 1);
  const ByteVector content(page.begin(), page.end());
  const ByteVector frame = ZstdFrame(content, {});
  EXPECT_EQ(Decoded(Codec::kZstd, frame), page);
  EXPECT_EQ(Decoded(Codec::kZstd, ZstdFrame(content, {.magic = true})), std::nullopt);
  EXPECT_EQ(Decoded(Codec::kZstd, ZstdFrame(content, {.content_size = true})), std::nullopt);
  EXPECT_EQ(Decoded(Codec::kZstd, ZstdFrame(content, {.checksum = true})), std::nullopt);

  const ByteVector empty = ZstdFrame({}, {});
  ByteVector two_frames = empty;
  two_frames.insert(two_frames.end(), frame.begin(), frame.end());
  EXPECT_EQ(Decoded(Codec::kZstd, two_frames), std::nullopt);
  two_frames = frame;
  two_frames.insert(two_frames.end(), empty.begin(), empty.end());
  EXPECT_EQ(Decoded(Codec::kZstd, two_frames), std::nullopt);
}

// zstd 1.5.4 looks for another frame's magic number in what follows a frame, four bytes at a time:
// beyond the payload if fewer are left.
TEST(HostilePayload, NothingIsReadBehindAZstdFrameWithAShortTail) {
  const Page page = MakePage(PageKind::kText, 1);
  ByteVector payload = ZstdFrame({page.begin(), page.end()}, {});
  for (int tail = 1; tail <= 4; ++tail) {
    payload.push_back(std::byte{0});
    EXPECT_EQ(Decoded(Codec::kZstd, payload), std::nullopt) << tail;
  }
}

constexpr unsigned kRawBlock = 0;
constexpr unsigned kRleBlock = 1;
constexpr unsigned kCompressedBlock = 2;

// A frame of one block with the given header fields and content.
ByteVector OneBlockFrame(unsigned window, unsigned type, size_t block_size,
                         const ByteVector& content) {
  const auto header = static_cast<unsigned>(block_size << 3 | type << 1 | 1);
  ByteVector frame;
  for (const unsigned byte : {0u, window, header, header >> 8, header >> 16}) {
    frame.push_back(static_cast<std::byte>(byte));
  }
  frame.insert(frame.end(), content.begin(), content.end());
  return frame;
}

TEST(HostilePayload, ZstdBlocksThatAreNotCompressedOnesAreRefused) {
  // 128 KiB of one byte, in six bytes; and exactly a page of it.
  for (const size_t size : {size_t{128} << 10, kPageSize}) {
    const ByteVector frame = OneBlockFrame(0x58, kRleBlock, size, {std::byte{'x'}});
    EXPECT_EQ(Decoded(Codec::kZstd, frame), std::nullopt) << size;
  }
  const ByteVector content(100, std::byte{'x'});
  EXPECT_EQ(Decoded(Codec::kZstd, OneBlockFrame(0x58, kRawBlock, content.size(), content)),
            std::nullopt);
}

// Past the check of the frame's form, zstd's own block decoder is what stands.
RC_GTEST_PROP(HostilePayload, RandomZstdBlocksAreRefusedOrGiveOnePage, ()) {
  const auto size = *rc::gen::inRange<size_t>(1, kMaxCompressed - 5);
  const auto window = *rc::gen::inRange(0u, 256u);
  const Page random = MakePage(PageKind::kRandom, *rc::gen::arbitrary<uint64_t>());
  const ByteVector content(random.begin(), random.begin() + static_cast<ptrdiff_t>(size));
  const ByteVector frame = OneBlockFrame(window, kCompressedBlock, size, content);
  RC_CLASSIFY(Decoded(Codec::kZstd, frame).has_value(), "decodes");
}

// One literal, then a match that is to fill the page from `offset` bytes back, then the literals
// that must end a block.
ByteVector Lz4Match(uint16_t offset) {
  constexpr size_t kLastLiterals = 12;
  size_t left = kPageSize - 1 - kLastLiterals - 4 - 15;
  ByteVector block = {std::byte{0x1f}, std::byte{'a'}, static_cast<std::byte>(offset & 0xff),
                      static_cast<std::byte>(offset >> 8)};
  for (; left >= 255; left -= 255) block.push_back(std::byte{255});
  block.push_back(static_cast<std::byte>(left));
  block.push_back(static_cast<std::byte>(kLastLiterals << 4));
  block.insert(block.end(), kLastLiterals, std::byte{'z'});
  return block;
}

TEST(HostilePayload, AnLz4MatchFromBeforeThePageIsRefused) {
  EXPECT_NE(Decoded(Codec::kLz4, Lz4Match(1)), std::nullopt);
  for (const uint16_t offset : {2, 8, 4096, 65535}) {
    EXPECT_EQ(Decoded(Codec::kLz4, Lz4Match(offset)), std::nullopt) << offset;
  }
}

// Offset 0 copies a byte onto itself: a decoder that took it so would let old memory through.
// Whether it refuses or not is its own affair.
TEST(HostilePayload, AnLz4MatchOfItselfShowsNoOldMemory) {
  (void)Decoded(Codec::kLz4, Lz4Match(0));
}

TEST(HostilePayload, AnLz4LengthWithoutEndIsRefused) {
  for (const std::byte token : {std::byte{0xf0}, std::byte{0x0f}, std::byte{0xff}}) {
    ByteVector block(kMaxCompressed, std::byte{255});
    block[0] = token;
    EXPECT_EQ(Decoded(Codec::kLz4, block), std::nullopt);
  }
}

TEST(HostilePayload, CompressedPayloadsAboveTheThresholdAreRefused) {
  const Page page = MakeHalfRandomPage(kMaxCompressed + 100, 1);
  const ByteVector content(page.begin(), page.end());
  const ByteVector block = Lz4Block(content);
  const ByteVector frame = ZstdFrame(content, {});
  ASSERT_GT(block.size(), kMaxCompressed);
  ASSERT_GT(frame.size(), kMaxCompressed);
  EXPECT_EQ(Decoded(Codec::kLz4, block), std::nullopt);
  EXPECT_EQ(Decoded(Codec::kZstd, frame), std::nullopt);
}

}  // namespace
}  // namespace tmem
