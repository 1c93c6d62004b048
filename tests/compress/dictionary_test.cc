#include "compress/dictionary.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstring>
#include <thread>
#include <type_traits>
#include <vector>

#include "compress/guarded_bytes.h"
#include "compress/page_codec.h"
#include "compress/page_kinds.h"
#include "compress/sample_dictionary.h"

namespace tmem {
namespace {

static_assert(!std::is_copy_constructible_v<Dictionary>);

constexpr DenseCodec kCodecs[] = {DenseCodec::kLz4, DenseCodec::kZstd};
constexpr size_t kHeaderSize = 32;  // Dictionary::image()

using ByteVector = std::vector<std::byte>;

ByteVector ImageOf(const Dictionary& dictionary) {
  return {dictionary.image().begin(), dictionary.image().end()};
}

class EachCodec : public testing::TestWithParam<DenseCodec> {};
INSTANTIATE_TEST_SUITE_P(Codecs, EachCodec, testing::ValuesIn(kCodecs),
                         [](const auto& suite) { return std::string(ToString(suite.param)); });

TEST_P(EachCodec, TheSameSamplesGiveTheSameDictionary) {
  const ByteVector samples = SamplePages(Dictionary::kMinSamples, 3);
  const auto first = Dictionary::Train(9, samples, GetParam());
  const auto second = Dictionary::Train(9, samples, GetParam());
  ASSERT_TRUE(first && second);
  EXPECT_EQ(ImageOf(**first), ImageOf(**second));
  EXPECT_EQ((*first)->id(), 9);
  EXPECT_EQ((*first)->codec(), GetParam());
  EXPECT_LE((*first)->content().size(), Dictionary::kMaxContent);
}

TEST_P(EachCodec, APageIsReadBackAfterARestart) {
  const Dictionary& writer = SampleDictionary(GetParam());
  PageCodec codec;
  const Page page = MakePage(PageKind::kText, 99);
  const Payload payload = codec.Compress(page, CompressMode::kDense, &writer);
  ASSERT_TRUE(NeedsDictionary(payload.codec));
  EXPECT_EQ(payload.dictionary, writer.id());

  const auto reader = Dictionary::Load(ImageOf(writer));
  ASSERT_TRUE(reader);
  EXPECT_EQ((*reader)->id(), writer.id());
  EXPECT_EQ((*reader)->codec(), std::nullopt);
  Page out;
  ASSERT_TRUE(codec.Decompress(payload.codec, payload.bytes, out, reader->get()));
  EXPECT_EQ(out, page);
}

TEST_P(EachCodec, ALoadedOneCompressesAsTheTrainedOne) {
  const Dictionary& trained = SampleDictionary(GetParam());
  const auto loaded = Dictionary::Load(trained.image(), GetParam());
  ASSERT_TRUE(loaded);
  PageCodec codec;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Page page = MakePage(PageKind::kPointers, seed);
    const Payload payload = codec.Compress(page, CompressMode::kDense, &trained);
    const ByteVector bytes(payload.bytes.begin(), payload.bytes.end());
    const Payload again = codec.Compress(page, CompressMode::kDense, loaded->get());
    EXPECT_TRUE(std::ranges::equal(again.bytes, bytes));
  }
}

TEST_P(EachCodec, OneServesManyThreads) {
  const Dictionary& dictionary = SampleDictionary(GetParam());
  std::vector<std::jthread> threads;
  for (uint64_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&dictionary, thread] {
      PageCodec codec;
      for (uint64_t i = 0; i < 50; ++i) {
        const Page page = MakePage(PageKind::kText, thread << 32 | i);
        const Payload payload = codec.Compress(page, CompressMode::kDense, &dictionary);
        Page out;
        ASSERT_TRUE(codec.Decompress(payload.codec, payload.bytes, out, &dictionary));
        ASSERT_EQ(out, page);
      }
    });
  }
}

TEST(Dictionary, TooFewSamplesGiveNone) {
  const ByteVector samples = SamplePages(Dictionary::kMinSamples, 1);
  const auto few = std::span(samples).first(samples.size() - 1);
  for (const auto given : {few, few.first(0)}) {
    const auto trained = Dictionary::Train(1, given, DenseCodec::kLz4);
    ASSERT_FALSE(trained);
    EXPECT_EQ(trained.error().code, ErrorCode::kInvalid);
  }
}

TEST(Dictionary, MoreSamplesThanTheGreatestNumberAreNotLookedAt) {
  ByteVector samples = SamplePages(Dictionary::kMaxSamples + 1, 1);
  const auto more = Dictionary::Train(1, samples, DenseCodec::kLz4);
  samples.resize(Dictionary::kMaxSamples * kPageSize);
  const auto most = Dictionary::Train(1, samples, DenseCodec::kLz4);
  ASSERT_TRUE(more && most);
  EXPECT_EQ(ImageOf(**more), ImageOf(**most));
}

// Whatever a guest stores, training ends, with a dictionary or an error.
RC_GTEST_PROP(Dictionary, AnyPagesGiveADictionaryOrAnError, ()) {
  const auto kind = *AnyPageKind();
  const auto distinct = *rc::gen::element<uint64_t>(1, 2, 1000);
  ByteVector samples;
  for (uint64_t i = 0; i < Dictionary::kMinSamples; ++i) {
    const Page page = MakePage(kind, i % distinct);
    samples.insert(samples.end(), page.begin(), page.end());
  }
  const auto trained = Dictionary::Train(1, samples, DenseCodec::kLz4);
  RC_TAG(kind, trained.has_value());
  if (!trained) return;
  PageCodec codec;
  const Page page = MakePage(kind, 0);
  const Payload payload = codec.Compress(page, CompressMode::kDense, trained->get());
  Page out;
  RC_ASSERT(codec.Decompress(payload.codec, payload.bytes, out, trained->get()));
  RC_ASSERT(out == page);
}

TEST(DictionaryImage, IsRefusedIfAnyByteIsChanged) {
  const ByteVector image = ImageOf(SampleDictionary(DenseCodec::kLz4));
  for (size_t at = 0; at < image.size(); at += at < 2 * kHeaderSize ? 1 : 997) {
    ByteVector changed = image;
    changed[at] ^= std::byte{0x40};
    const auto loaded = Dictionary::Load(changed, DenseCodec::kLz4);
    ASSERT_FALSE(loaded) << at;
    EXPECT_EQ(loaded.error().code, ErrorCode::kInvalid);
  }
}

TEST(DictionaryImage, IsRefusedIfCutShortOrLonger) {
  ByteVector image = ImageOf(SampleDictionary(DenseCodec::kLz4));
  for (size_t size = 0; size < image.size(); size += size < 2 * kHeaderSize ? 1 : 997) {
    EXPECT_FALSE(Dictionary::Load(std::span(image).first(size))) << size;
  }
  image.push_back(std::byte{0});
  EXPECT_FALSE(Dictionary::Load(image));
}

TEST(DictionaryImage, OfANewerVersionIsRefusedByName) {
  ByteVector image = ImageOf(SampleDictionary(DenseCodec::kLz4));
  image[8] = std::byte{2};
  const auto loaded = Dictionary::Load(image);
  ASSERT_FALSE(loaded);
  EXPECT_NE(loaded.error().message.find("version 2"), std::string::npos) << loaded.error().message;
}

}  // namespace
}  // namespace tmem
