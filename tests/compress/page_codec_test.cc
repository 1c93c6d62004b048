#include "compress/page_codec.h"

#include <gtest/gtest.h>
#include <lz4.h>
#include <rapidcheck/gtest.h>
#include <zstd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "compress/guarded_bytes.h"
#include "compress/page_kinds.h"
#include "compress/sample_dictionary.h"

namespace tmem {
namespace {

static_assert(!std::is_copy_constructible_v<PageCodec>);
static_assert(std::is_nothrow_move_constructible_v<PageCodec>);
static_assert(std::is_nothrow_move_assignable_v<PageCodec>);

constexpr CompressMode kModes[] = {CompressMode::kOff, CompressMode::kFast, CompressMode::kDense};

rc::Gen<CompressMode> AnyMode() {
  return rc::gen::elementOf(std::vector(std::begin(kModes), std::end(kModes)));
}

// nullptr, or one of either codec.
rc::Gen<const Dictionary*> AnyDictionary() {
  return rc::gen::element<const Dictionary*>(nullptr, &SampleDictionary(DenseCodec::kLz4),
                                             &SampleDictionary(DenseCodec::kZstd));
}

struct OwnedPayload {
  Codec codec;
  std::vector<std::byte> bytes;
  DictionaryId dictionary;
  bool operator==(const OwnedPayload&) const = default;
};

// By both ways, which agree.
OwnedPayload Compressed(PageCodec& codec, const Page& page, CompressMode mode,
                        const Dictionary* dictionary = nullptr) {
  const GuardedBytes room(kMaxCompressed);
  const Payload into = codec.CompressInto(CompressRoom(room.bytes()), page, mode, dictionary);
  const Payload payload = codec.Compress(page, mode, dictionary);
  EXPECT_TRUE(std::ranges::equal(into.bytes, payload.bytes));
  EXPECT_EQ(into.codec, payload.codec);
  EXPECT_EQ(into.dictionary, payload.dictionary);
  EXPECT_EQ(into.bytes.data(), into.codec == Codec::kRaw ? page.data() : room.bytes().data());
  return {payload.codec, {payload.bytes.begin(), payload.bytes.end()}, payload.dictionary};
}

bool DecodesTo(PageCodec& codec, const OwnedPayload& payload, const Page& page,
               const Dictionary* dictionary = nullptr) {
  const GuardedBytes out(kPageSize);
  return codec.Decompress(payload.codec, payload.bytes, out.page(), dictionary) &&
         std::ranges::equal(out.bytes(), page);
}

bool SizeFitsCodec(const OwnedPayload& payload) {
  switch (payload.codec) {
    case Codec::kRaw:
      return payload.bytes.size() == kPageSize;
    case Codec::kSameFilled:
      return payload.bytes.size() == sizeof(uint64_t);
    case Codec::kLz4:
    case Codec::kZstd:
    case Codec::kLz4Dictionary:
    case Codec::kZstdDictionary:
      return !payload.bytes.empty() && payload.bytes.size() <= kMaxCompressed;
  }
  return false;
}

RC_GTEST_PROP(PageCodec, GivesBackEveryPageInEveryMode, ()) {
  static PageCodec writer;
  static PageCodec reader;
  const auto kind = *AnyPageKind();
  const auto mode = *AnyMode();
  const Dictionary* const dictionary = *AnyDictionary();
  const Page page = MakePage(kind, *rc::gen::arbitrary<uint64_t>());

  const OwnedPayload payload = Compressed(writer, page, mode, dictionary);
  RC_TAG(kind, ToString(payload.codec));
  RC_ASSERT(SizeFitsCodec(payload));
  RC_ASSERT(payload.codec != Codec::kLz4 || mode == CompressMode::kFast);
  RC_ASSERT(payload.codec != Codec::kZstd || (mode == CompressMode::kDense && !dictionary));
  RC_ASSERT(!NeedsDictionary(payload.codec) || (mode == CompressMode::kDense && dictionary));
  RC_ASSERT(payload.dictionary ==
            (NeedsDictionary(payload.codec) ? dictionary->id() : kNoDictionary));
  RC_ASSERT((payload.codec == Codec::kSameFilled) == SameFilledWord(page).has_value());
  RC_ASSERT(DecodesTo(reader, payload, page, dictionary));
  RC_ASSERT(!NeedsDictionary(payload.codec) || !DecodesTo(reader, payload, page));
}

TEST(PageCodec, PicksTheCodecThatTheModeAndThePageAskFor) {
  PageCodec codec;
  const auto chosen = [&](PageKind kind, CompressMode mode) {
    return codec.Compress(MakePage(kind, 1), mode).codec;
  };
  for (const CompressMode mode : kModes) {
    EXPECT_EQ(chosen(PageKind::kZero, mode), Codec::kSameFilled);
    EXPECT_EQ(chosen(PageKind::kSameFilled, mode), Codec::kSameFilled);
    EXPECT_EQ(chosen(PageKind::kRandom, mode), Codec::kRaw);
  }
  for (const PageKind kind : {PageKind::kText, PageKind::kSparse, PageKind::kPointers}) {
    EXPECT_EQ(chosen(kind, CompressMode::kOff), Codec::kRaw) << kind;
    EXPECT_EQ(chosen(kind, CompressMode::kFast), Codec::kLz4) << kind;
    EXPECT_EQ(chosen(kind, CompressMode::kDense), Codec::kZstd) << kind;
    const Page page = MakePage(kind, 1);
    const auto with = [&](DenseCodec dense) {
      return codec.Compress(page, CompressMode::kDense, &SampleDictionary(dense)).codec;
    };
    EXPECT_EQ(with(DenseCodec::kLz4), Codec::kLz4Dictionary) << kind;
    EXPECT_EQ(with(DenseCodec::kZstd), Codec::kZstdDictionary) << kind;
  }
}

TEST(PageCodec, DenseIsDenserThanFast) {
  PageCodec codec;
  for (const PageKind kind : {PageKind::kText, PageKind::kPointers}) {
    const Page page = MakePage(kind, 1);
    const size_t fast = codec.Compress(page, CompressMode::kFast).bytes.size();
    for (const Dictionary* dictionary :
         {static_cast<const Dictionary*>(nullptr), &SampleDictionary(DenseCodec::kLz4),
          &SampleDictionary(DenseCodec::kZstd)}) {
      EXPECT_LT(codec.Compress(page, CompressMode::kDense, dictionary).bytes.size(), fast) << kind;
    }
  }
}

TEST(PageCodec, ARawPayloadIsThePageItself) {
  PageCodec codec;
  const Page page = MakePage(PageKind::kRandom, 1);
  for (const CompressMode mode : kModes) {
    const Payload payload = codec.Compress(page, mode);
    EXPECT_EQ(payload.bytes.data(), page.data());
    EXPECT_EQ(payload.bytes.size(), kPageSize);
  }
}

// Pages of falling compressibility pass the threshold once; the codec's own answer without a bound
// tells on which side each lies. Near the threshold LZ4 and zstd may give up although the payload
// would have fitted, by less than kSlack bytes.
class Threshold : public testing::TestWithParam<CompressMode> {
 protected:
  static constexpr size_t kSlack = 16;

  static size_t UnboundedSize(const Page& page) {
    std::vector<char> out(2 * kPageSize);
    const auto* const in = reinterpret_cast<const char*>(page.data());
    if (GetParam() == CompressMode::kFast) {
      return static_cast<size_t>(
          LZ4_compress_default(in, out.data(), kPageSize, static_cast<int>(out.size())));
    }
    // ZSTD_compress writes a magic number, and a content size one byte longer than the window.
    constexpr size_t kLongerHeader = 4 + 1;
    return ZSTD_compress(out.data(), out.size(), in, kPageSize, PageCodec::Config{}.zstd_level) -
           kLongerHeader;
  }
};

TEST_P(Threshold, PayloadsAboveItStayRaw) {
  PageCodec codec;
  size_t above = 0;
  size_t below = 0;
  for (size_t random_bytes = kMaxCompressed - 100; random_bytes < kMaxCompressed + 100;
       ++random_bytes) {
    const Page page = MakeHalfRandomPage(random_bytes, random_bytes);
    const size_t unbounded = UnboundedSize(page);
    const OwnedPayload payload = Compressed(codec, page, GetParam());
    EXPECT_TRUE(DecodesTo(codec, payload, page));
    if (unbounded > kMaxCompressed) {
      EXPECT_EQ(payload.codec, Codec::kRaw) << unbounded;
      ++above;
    } else if (unbounded + kSlack <= kMaxCompressed) {
      EXPECT_NE(payload.codec, Codec::kRaw) << unbounded;
      EXPECT_EQ(payload.bytes.size(), unbounded);
      ++below;
    } else if (payload.codec != Codec::kRaw) {
      EXPECT_LE(payload.bytes.size(), kMaxCompressed);
    }
  }
  EXPECT_GT(above, 20);
  EXPECT_GT(below, 20);
}

INSTANTIATE_TEST_SUITE_P(Modes, Threshold,
                         testing::Values(CompressMode::kFast, CompressMode::kDense),
                         [](const auto& suite) { return std::string(ToString(suite.param)); });

// A context that has seen other pages, some of which did not compress or did not decode, gives the
// same payloads as a fresh one.
RC_GTEST_PROP(PageCodec, NothingOfEarlierPagesStaysInAContext, ()) {
  PageCodec reused;
  const auto rounds = *rc::gen::inRange(1, 20);
  for (int round = 0; round < rounds; ++round) {
    const auto mode = *AnyMode();
    const Dictionary* const dictionary = *AnyDictionary();
    const Page page = MakePage(*AnyPageKind(), *rc::gen::arbitrary<uint64_t>());
    const OwnedPayload payload = Compressed(reused, page, mode, dictionary);
    PageCodec fresh;
    RC_ASSERT(payload == Compressed(fresh, page, mode, dictionary));
    RC_ASSERT(DecodesTo(reused, payload, page, dictionary));

    OwnedPayload broken = payload;
    broken.bytes.pop_back();
    RC_ASSERT(!DecodesTo(reused, broken, page, dictionary));
  }
}

TEST(PageCodec, MovesWithItsContextsAndItsLastPayload) {
  const Page page = MakePage(PageKind::kText, 7);
  auto first = std::make_unique<PageCodec>();
  const Payload payload = first->Compress(page, CompressMode::kDense);

  PageCodec second(std::move(*first));
  first.reset();
  Page out;
  ASSERT_TRUE(second.Decompress(payload.codec, payload.bytes, out));
  EXPECT_EQ(out, page);

  PageCodec third;
  third = std::move(second);
  second = PageCodec();
  for (const CompressMode mode : kModes) {
    EXPECT_TRUE(DecodesTo(second, Compressed(third, page, mode), page));
    EXPECT_TRUE(DecodesTo(third, Compressed(second, page, mode), page));
  }
}

TEST(PageCodec, TakesEveryLevel) {
  const Page page = MakePage(PageKind::kText, 3);
  PageCodec reader;
  for (const int level : {INT_MIN, ZSTD_minCLevel(), -1, 0, 1, 3, 19, ZSTD_maxCLevel(), INT_MAX}) {
    PageCodec writer({.zstd_level = level});
    EXPECT_TRUE(DecodesTo(reader, Compressed(writer, page, CompressMode::kDense), page)) << level;
  }
}

TEST(SameFilledWord, IsTheWordThatFillsThePage) {
  Page page{};
  EXPECT_EQ(SameFilledWord(page), 0);
  page.fill(std::byte{0xa5});
  EXPECT_EQ(SameFilledWord(page), 0xa5a5a5a5a5a5a5a5);
  for (size_t i = 0; i < kPageSize; ++i) page[i] = static_cast<std::byte>(i % sizeof(uint64_t));
  uint64_t word;
  std::memcpy(&word, page.data(), sizeof(word));
  EXPECT_EQ(SameFilledWord(page), word);
}

TEST(SameFilledWord, SeesOneDifferentByteWhereverItIs) {
  Page page = MakePage(PageKind::kSameFilled, 5);
  for (std::byte& byte : page) {
    byte ^= std::byte{0x10};
    ASSERT_EQ(SameFilledWord(page), std::nullopt) << &byte - page.data();
    byte ^= std::byte{0x10};
  }
  EXPECT_NE(SameFilledWord(page), std::nullopt);
}

TEST(SameFilledWord, TakesPagesOfAnyAlignmentAndReadsNothingElse) {
  const GuardedBytes exact{std::span<const std::byte>(Page{})};
  EXPECT_EQ(SameFilledWord(exact.page()), 0);
  std::vector<std::byte> bytes(kPageSize + sizeof(uint64_t), std::byte{7});
  bytes.front() = bytes.back() = std::byte{8};
  for (size_t offset = 1; offset < sizeof(uint64_t); ++offset) {
    const PageView page = std::span(bytes).subspan(offset).first<kPageSize>();
    EXPECT_EQ(SameFilledWord(page), 0x0707070707070707) << offset;
  }
}

TEST(LooksLikeNoise, IsTrueOfRandomPages) {
  int noise = 0;
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    noise += LooksLikeNoise(MakePage(PageKind::kRandom, seed)) ? 1 : 0;
  }
  EXPECT_GE(noise, 970);
}

RC_GTEST_PROP(LooksLikeNoise, IsFalseOfPagesWithALongRun, ()) {
  constexpr size_t kRun = 1088;
  const auto seed = *rc::gen::arbitrary<uint64_t>();
  Page page = MakePage(PageKind::kRandom, seed);
  const auto start = *rc::gen::inRange<size_t>(0, kPageSize - kRun + 1);
  std::fill_n(page.begin() + static_cast<std::ptrdiff_t>(start), kRun, page[start]);
  RC_ASSERT(!LooksLikeNoise(page));
}

// Memory testers fill memory so, and tables repeat themselves.
TEST(LooksLikeNoise, IsFalseOfWhatRepeatsItself) {
  PageCodec codec;
  const Page random = MakePage(PageKind::kRandom, 7);
  for (size_t period = sizeof(uint64_t); period < kPageSize; period *= 2) {
    Page page;
    for (size_t i = 0; i < kPageSize; ++i) page[i] = random[i % period];
    EXPECT_FALSE(LooksLikeNoise(page)) << period;
    if (period == sizeof(uint64_t)) continue;  // one word throughout
    EXPECT_EQ(codec.Compress(page, CompressMode::kFast).codec, Codec::kLz4) << period;
  }
}

TEST(LooksLikeNoise, IsFalseOfTextAndOfHeaps) {
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    for (const PageKind kind : {PageKind::kText, PageKind::kPointers, PageKind::kSparse}) {
      EXPECT_FALSE(LooksLikeNoise(MakePage(kind, seed))) << kind;
    }
  }
}

TEST(Names, OfModesAreReadBack) {
  for (const CompressMode mode : kModes) EXPECT_EQ(ParseCompressMode(ToString(mode)), mode);
  EXPECT_EQ(ToString(CompressMode::kOff), "off");
  EXPECT_EQ(ToString(CompressMode::kFast), "fast");
  EXPECT_EQ(ToString(CompressMode::kDense), "dense");
  for (const char* text : {"", "Fast", "fast ", "lz4", "unknown"}) {
    EXPECT_EQ(ParseCompressMode(text), std::nullopt) << text;
  }
}

TEST(Names, OfCodecsAreThoseOfTheReports) {
  EXPECT_EQ(ToString(Codec::kRaw), "raw");
  EXPECT_EQ(ToString(Codec::kSameFilled), "same-filled");
  EXPECT_EQ(ToString(Codec::kLz4), "lz4");
  EXPECT_EQ(ToString(Codec::kZstd), "zstd");
  EXPECT_EQ(ToString(Codec::kLz4Dictionary), "lz4-dictionary");
  EXPECT_EQ(ToString(Codec::kZstdDictionary), "zstd-dictionary");
  EXPECT_EQ(ToString(static_cast<Codec>(77)), "unknown");
}

}  // namespace
}  // namespace tmem
