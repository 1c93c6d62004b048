// What a page costs to compress and to decompress, and how small it gets: bare LZ4 and zstd, zstd
// under other parameters, and our PageCodec. Time is ns a page; `ratio` is bytes of pages to bytes
// of payloads, with the pages that stay raw; `raw` is their share in percent. Dictionaries are
// trained on pages of the same corpus that are not among those measured.
//
//   TMEM_CORPUS=DIR bench_codec [--benchmark_filter=anon/]
#include <benchmark/benchmark.h>
#include <lz4.h>
#define ZSTD_STATIC_LINKING_ONLY  // frames without the magic number, and the choice about literals
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "compress/page_codec.h"
#include "page_corpus.h"

namespace tmem {
namespace {

constexpr size_t kMostPages = 8192;  // 32 MiB: more than the caches of one core hold

class Coder {
 public:
  virtual ~Coder() = default;
  virtual Payload Compress(PageView page) = 0;
  virtual bool Decompress(Codec codec, std::span<const std::byte> payload, MutablePageView out) = 0;
};

class BareLz4 final : public Coder {
 public:
  Payload Compress(PageView page) override {
    const int size = LZ4_compress_fast_extState(&state_, reinterpret_cast<const char*>(page.data()),
                                                reinterpret_cast<char*>(out_.data()), kPageSize,
                                                kMaxCompressed, 1);
    if (size <= 0) return {Codec::kRaw, page};
    return {Codec::kLz4, std::span(out_).first(static_cast<size_t>(size))};
  }
  bool Decompress(Codec, std::span<const std::byte> payload, MutablePageView out) override {
    return LZ4_decompress_safe(reinterpret_cast<const char*>(payload.data()),
                               reinterpret_cast<char*>(out.data()),
                               static_cast<int>(payload.size()), kPageSize) == kPageSize;
  }

 private:
  LZ4_stream_t state_;
  std::array<std::byte, kMaxCompressed> out_;
};

struct FreeZstd {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

class BareZstd final : public Coder {
 public:
  BareZstd(int level, ZSTD_paramSwitch_e literals) {
    ZSTD_CCtx_setParameter(compressor_.get(), ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(compressor_.get(), ZSTD_c_literalCompressionMode, literals);
    ZSTD_CCtx_setParameter(compressor_.get(), ZSTD_c_format, ZSTD_f_zstd1_magicless);
    ZSTD_CCtx_setParameter(compressor_.get(), ZSTD_c_contentSizeFlag, 0);
    ZSTD_DCtx_setParameter(decompressor_.get(), ZSTD_d_format, ZSTD_f_zstd1_magicless);
  }
  Payload Compress(PageView page) override {
    const size_t size =
        ZSTD_compress2(compressor_.get(), out_.data(), out_.size(), page.data(), page.size());
    if (ZSTD_isError(size)) return {Codec::kRaw, page};
    return {Codec::kZstd, std::span(out_).first(size)};
  }
  bool Decompress(Codec, std::span<const std::byte> payload, MutablePageView out) override {
    return ZSTD_decompressDCtx(decompressor_.get(), out.data(), kPageSize, payload.data(),
                               payload.size()) == kPageSize;
  }

 private:
  const std::unique_ptr<ZSTD_CCtx, FreeZstd> compressor_{ZSTD_createCCtx()};
  const std::unique_ptr<ZSTD_DCtx, FreeZstd> decompressor_{ZSTD_createDCtx()};
  std::array<std::byte, kMaxCompressed> out_;
};

class Ours final : public Coder {
 public:
  explicit Ours(CompressMode mode, std::shared_ptr<const Dictionary> dictionary = nullptr)
      : mode_(mode), dictionary_(std::move(dictionary)) {}
  Payload Compress(PageView page) override {
    return codec_.Compress(page, mode_, dictionary_.get());
  }
  bool Decompress(Codec codec, std::span<const std::byte> payload, MutablePageView out) override {
    return codec_.Decompress(codec, payload, out, dictionary_.get());
  }

 private:
  const CompressMode mode_;
  const std::shared_ptr<const Dictionary> dictionary_;
  PageCodec codec_;
};

// 0 .. size - 1 in random order, the same for every codec.
std::vector<size_t> RandomOrder(size_t size) {
  std::vector<size_t> order(size);
  std::iota(order.begin(), order.end(), size_t{0});
  std::shuffle(order.begin(), order.end(), std::mt19937_64(1));
  return order;
}

// The payloads of one corpus that are not raw, one after the other.
class Encoded {
 public:
  Encoded(const PageCorpus& corpus, Coder& coder) {
    size_t total = 0;
    for (size_t i = 0; i < corpus.size(); ++i) {
      const Payload payload = coder.Compress(corpus.page(i));
      total += payload.bytes.size();
      if (payload.codec == Codec::kRaw) continue;
      pieces_.push_back({payload.codec, bytes_.size(), payload.bytes.size()});
      bytes_.insert(bytes_.end(), payload.bytes.begin(), payload.bytes.end());
    }
    const auto pages = static_cast<double>(corpus.size());
    ratio = pages * kPageSize / static_cast<double>(total);
    raw_percent = 100 * (pages - static_cast<double>(pieces_.size())) / pages;
  }

  size_t size() const { return pieces_.size(); }
  Payload payload(size_t index) const {
    const Piece& piece = pieces_[index];
    return {piece.codec, std::span(bytes_).subspan(piece.start, piece.length)};
  }

  double ratio;
  double raw_percent;

 private:
  struct Piece {
    Codec codec;
    size_t start;
    size_t length;
  };
  std::vector<Piece> pieces_;
  std::vector<std::byte> bytes_;
};

void Compress(benchmark::State& state, const PageCorpus& corpus, Coder& coder) {
  const std::vector<size_t> order = RandomOrder(corpus.size());
  size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(coder.Compress(corpus.page(order[next])).bytes.data());
    if (++next == order.size()) next = 0;
  }
  const Encoded encoded(corpus, coder);
  state.counters["ratio"] = encoded.ratio;
  state.counters["raw"] = encoded.raw_percent;
}

void Decompress(benchmark::State& state, const PageCorpus& corpus, Coder& coder) {
  const Encoded encoded(corpus, coder);
  if (encoded.size() == 0) return state.SkipWithError("no page of this corpus compresses");
  const std::vector<size_t> order = RandomOrder(encoded.size());
  alignas(64) std::array<std::byte, kPageSize> out;
  size_t next = 0;
  for (auto _ : state) {
    const Payload payload = encoded.payload(order[next]);
    if (!coder.Decompress(payload.codec, payload.bytes, out)) {
      return state.SkipWithError("a payload does not decode");
    }
    benchmark::ClobberMemory();
    if (++next == order.size()) next = 0;
  }
}

void SameFilledCheck(benchmark::State& state, bool same) {
  std::array<std::byte, kPageSize> page{};
  if (!same) page[1] = std::byte{1};
  for (auto _ : state) {
    benchmark::DoNotOptimize(page.data());
    benchmark::DoNotOptimize(SameFilledWord(page));
  }
}

// What LooksLikeNoise costs a page, in percent what part of the pages it is true of, and how much
// smaller LZ4 would have made all pages together with those.
void NoiseCheck(benchmark::State& state, const PageCorpus& corpus) {
  const std::vector<size_t> order = RandomOrder(corpus.size());
  size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(LooksLikeNoise(corpus.page(order[next])));
    if (++next == order.size()) next = 0;
  }
  BareLz4 lz4;
  size_t noise = 0;
  size_t lost = 0;
  for (size_t i = 0; i < corpus.size(); ++i) {
    if (!LooksLikeNoise(corpus.page(i))) continue;
    ++noise;
    lost += kPageSize - lz4.Compress(corpus.page(i)).bytes.size();
  }
  const auto pages = static_cast<double>(corpus.size());
  state.counters["noise"] = 100 * static_cast<double>(noise) / pages;
  state.counters["lost"] = 100 * static_cast<double>(lost) / (pages * kPageSize);
}

// zstd with the tables and the content of a dictionary of ours, and literals as wished.
class ZstdWithDictionary final : public Coder {
 public:
  ZstdWithDictionary(std::shared_ptr<const Dictionary> dictionary, ZSTD_paramSwitch_e literals)
      : dictionary_(std::move(dictionary)) {
    ZSTD_CCtx_setParameter(compressor_.get(), ZSTD_c_literalCompressionMode, literals);
    ZSTD_CCtx_setParameter(compressor_.get(), ZSTD_c_format, ZSTD_f_zstd1_magicless);
    ZSTD_CCtx_setParameter(compressor_.get(), ZSTD_c_contentSizeFlag, 0);
    ZSTD_CCtx_setParameter(compressor_.get(), ZSTD_c_dictIDFlag, 0);
    ZSTD_CCtx_refCDict(compressor_.get(), dictionary_->zstd_compressor());
    ZSTD_DCtx_setParameter(decompressor_.get(), ZSTD_d_format, ZSTD_f_zstd1_magicless);
  }
  Payload Compress(PageView page) override {
    const size_t size =
        ZSTD_compress2(compressor_.get(), out_.data(), out_.size(), page.data(), page.size());
    if (ZSTD_isError(size)) return {Codec::kRaw, page};
    return {Codec::kZstdDictionary, std::span(out_).first(size)};
  }
  bool Decompress(Codec, std::span<const std::byte> payload, MutablePageView out) override {
    return ZSTD_decompress_usingDDict(decompressor_.get(), out.data(), kPageSize, payload.data(),
                                      payload.size(),
                                      dictionary_->zstd_decompressor()) == kPageSize;
  }

 private:
  const std::shared_ptr<const Dictionary> dictionary_;
  const std::unique_ptr<ZSTD_CCtx, FreeZstd> compressor_{ZSTD_createCCtx()};
  const std::unique_ptr<ZSTD_DCtx, FreeZstd> decompressor_{ZSTD_createDCtx()};
  std::array<std::byte, kMaxCompressed> out_;
};

// Takes the pages to train on out of the corpus.
std::vector<std::byte> TakeSamples(PageCorpus& corpus) {
  const std::vector<size_t> order = RandomOrder(corpus.size());
  const size_t count = std::min(corpus.size() / 4, Dictionary::kMaxSamples);
  std::vector<std::byte> samples;
  std::vector<std::byte> rest;
  for (size_t i = 0; i < order.size(); ++i) {
    const PageView page = corpus.page(order[i]);
    auto& to = i < count ? samples : rest;
    to.insert(to.end(), page.begin(), page.end());
  }
  corpus.bytes = std::move(rest);
  return samples;
}

std::shared_ptr<const Dictionary> MustTrain(std::span<const std::byte> samples, DenseCodec codec) {
  auto dictionary = Dictionary::Train(1, samples, codec);
  if (!dictionary) {
    std::fprintf(stderr, "bench_codec: %s\n", dictionary.error().message.c_str());
    std::exit(1);
  }
  return *dictionary;
}

void Train(benchmark::State& state, const std::vector<std::byte>& samples) {
  for (auto _ : state) MustTrain(samples, DenseCodec::kLz4);
}

void Register(const PageCorpus& corpus, const std::string& name, std::shared_ptr<Coder> coder) {
  const std::string prefix = corpus.name + "/" + name;
  benchmark::RegisterBenchmark(
      (prefix + "/compress").c_str(),
      [&corpus, coder](benchmark::State& state) { Compress(state, corpus, *coder); });
  benchmark::RegisterBenchmark(
      (prefix + "/decompress").c_str(),
      [&corpus, coder](benchmark::State& state) { Decompress(state, corpus, *coder); });
}

void RegisterDictionaries(const PageCorpus& corpus, std::vector<std::byte> samples) {
  const auto lz4 = MustTrain(samples, DenseCodec::kLz4);
  const auto zstd = MustTrain(samples, DenseCodec::kZstd);
  Register(corpus, "PageCodec:dense/dictionary:lz4",
           std::make_shared<Ours>(CompressMode::kDense, lz4));
  Register(corpus, "PageCodec:dense/dictionary:zstd",
           std::make_shared<Ours>(CompressMode::kDense, zstd));
  Register(corpus, "zstd:3/dictionary/literals:huffman",
           std::make_shared<ZstdWithDictionary>(zstd, ZSTD_ps_enable));
  Register(corpus, "zstd:3/dictionary/literals:raw",
           std::make_shared<ZstdWithDictionary>(zstd, ZSTD_ps_disable));
  benchmark::RegisterBenchmark((corpus.name + "/train").c_str(), [samples = std::move(samples)](
                                                                     benchmark::State& state) {
    Train(state, samples);
  })->Unit(benchmark::kMillisecond);
}

void RegisterAll(std::vector<PageCorpus>& corpora) {
  benchmark::RegisterBenchmark("same-filled/different",
                               [](benchmark::State& state) { SameFilledCheck(state, false); });
  benchmark::RegisterBenchmark("same-filled/same",
                               [](benchmark::State& state) { SameFilledCheck(state, true); });
  for (PageCorpus& corpus : corpora) {
    RegisterDictionaries(corpus, TakeSamples(corpus));
    benchmark::RegisterBenchmark((corpus.name + "/looks-like-noise").c_str(),
                                 [&corpus](benchmark::State& state) { NoiseCheck(state, corpus); });
    Register(corpus, "lz4", std::make_shared<BareLz4>());
    Register(corpus, "PageCodec:fast", std::make_shared<Ours>(CompressMode::kFast));
    Register(corpus, "PageCodec:dense", std::make_shared<Ours>(CompressMode::kDense));
    for (const int level : {-1, 1, 2, 3, 5, 9}) {
      const std::string name = "zstd:" + std::to_string(level);
      Register(corpus, name + "/literals:huffman",
               std::make_shared<BareZstd>(level, ZSTD_ps_enable));
      Register(corpus, name + "/literals:raw", std::make_shared<BareZstd>(level, ZSTD_ps_disable));
    }
  }
}

}  // namespace
}  // namespace tmem

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  auto corpora = tmem::LoadCorpora(tmem::kMostPages);
  if (!corpora) {
    std::fprintf(stderr, "bench_codec: %s\n", corpora.error().message.c_str());
    return 1;
  }
  tmem::RegisterAll(*corpora);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
