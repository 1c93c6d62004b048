// How a store ages: memory over payload, refused puts and the times of puts, when it was filled
// once and then was churned for a long time.
//
//   TMEM_CORPUS=DIR bench_churn [--benchmark_filter=capacity:512]
//
// One guest's persistent pages under LZ4 fill segments up to 95% of the capacity (MiB). Then pages
// are replaced, put and flushed at random (churn.h), the sum of payloads being kept, in phases of
// sizes that differ (size_stream.h): each puts once what the store holds. Counters:
//   filled_memory      segments over payloads when just filled
//   memory             the same after the last phase; worst_memory: after the worst one
//   refused            puts that were refused, in percent: these lose their page
//   p50, p99, p99_9    ns of a put while churning (latencies.h); p99_9_to_p50
//   codec_p50, codec_p99_9     likewise of LZ4 alone on pages of the same draw, every 16th time:
//                      what the sizes, and the machine, do to any program
//   worst_us           the longest put
// At the end every page is checked, and that none is there that should not be.
// A capacity of 4096 MiB needs 6 GiB of memory and is left out without.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "churn.h"
#include "latencies.h"
#include "page_buffer.h"
#include "page_corpus.h"
#include "pools/store.h"
#include "size_stream.h"

namespace tmem {
namespace {

using benchmark::State;

[[noreturn]] void Stop(const std::string& why) {
  std::fprintf(stderr, "bench_churn: %s\n", why.c_str());
  std::exit(1);
}

// A store of one guest with one pool.
class OneGuestStore {
 public:
  explicit OneGuestStore(Bytes capacity) : store_(Create(capacity)) {
    guest_ = *store_->AddGuest(GuestId{1}, {});
    pool_ = *store_->NewPool(*guest_, {.page_class = PageClass::kPersistent});
  }
  bool Put(uint32_t number, PageView page) {
    return store_->Put(*guest_, HandleOf(number), page, codec_) == PutStatus::kStored;
  }
  void Flush(uint32_t number) { store_->FlushPage(*guest_, HandleOf(number)); }
  // Whether it has this page, or none if that is nullptr.
  bool Has(uint32_t number, const SizeStream::Sized* sized) {
    const GetStatus status = store_->Get(*guest_, HandleOf(number), out_, codec_);
    if (sized == nullptr) return status == GetStatus::kMiss || status == GetStatus::kEmpty;
    return status == GetStatus::kHit && std::ranges::equal(out_, sized->page);
  }

  Bytes capacity() const { return store_->Stats().capacity; }
  Bytes segments() const { return store_->Stats().segments[1]; }
  double memory() const {
    const StoreStats stats = store_->Stats();
    return static_cast<double>(stats.segments[1].value) /
           static_cast<double>(stats.stored[1].payload_bytes);
  }

 private:
  static std::unique_ptr<Store> Create(Bytes capacity) {
    auto store = Store::Create({.capacity = capacity});
    if (!store) Stop(store.error().message);
    return *std::move(store);
  }
  Handle HandleOf(uint32_t number) const {
    return {pool_, ObjectId{{number / 1024, 0, 0}}, PageIndex{number % 1024}};
  }

  const std::unique_ptr<Store> store_;
  std::shared_ptr<Guest> guest_;
  PoolId pool_;
  PageCodec codec_;
  std::array<std::byte, kPageSize> out_;
};

// The pages that a store should have, by number.
class Expected {
 public:
  void Set(uint32_t number, const SizeStream::Sized* sized) {
    if (number >= pages_.size()) pages_.resize(number + 1);
    pages_[number] = sized;
  }
  // Ends the program unless the store has these and no others.
  void Check(OneGuestStore& store) const {
    for (uint32_t number = 0; number < pages_.size(); ++number) {
      if (!store.Has(number, pages_[number])) Stop("a page is lost, stale or wrong");
    }
  }

 private:
  std::vector<const SizeStream::Sized*> pages_;
};

void Fill(OneGuestStore& store, Churn& churn, Expected& expected) {
  constexpr int kPutsBetweenLooks = 256;
  const uint64_t until = store.capacity().value / 100 * 95;
  while (store.segments().value < until) {
    for (int i = 0; i < kPutsBetweenLooks; ++i) {
      churn.Fill([&](uint32_t number, const SizeStream::Sized& sized) {
        if (!store.Put(number, sized.page)) Stop("a put is refused while the store fills");
        expected.Set(number, &sized);
        return true;
      });
    }
  }
}

void RunChurn(State& state, const SizeStream& stream, Bytes capacity) {
  constexpr uint32_t kCodecEvery = 16;
  OneGuestStore store(capacity);
  Churn churn(stream);
  Expected expected;
  Fill(store, churn, expected);
  state.counters["filled_memory"] = store.memory();

  PageCodec codec;
  Latencies puts;
  Latencies codec_only;
  uint64_t count = 0;
  uint64_t refused = 0;
  double worst_memory = 0;
  const uint64_t full = churn.payload_bytes();
  const auto put = [&](uint32_t number, const SizeStream::Sized& sized) {
    if (count++ % kCodecEvery == 0) {
      codec_only.Time([&] { return codec.Compress(sized.page, CompressMode::kFast).bytes.size(); });
    }
    const bool stored = puts.Time([&] { return store.Put(number, sized.page); });
    refused += stored ? 0 : 1;
    expected.Set(number, stored ? &sized : nullptr);
    return stored;
  };
  const auto flush = [&](uint32_t number) {
    store.Flush(number);
    expected.Set(number, nullptr);
  };
  for (auto _ : state) {
    for (int phase = 0; phase < SizeStream::kPhases; ++phase) {
      const uint64_t until = churn.put_bytes() + full;
      while (churn.put_bytes() < until) churn.Step(phase, full, put, flush);
      worst_memory = std::max(worst_memory, store.memory());
    }
  }
  expected.Check(store);
  state.counters["memory"] = store.memory();
  state.counters["worst_memory"] = worst_memory;
  state.counters["refused"] = 100.0 * static_cast<double>(refused) / static_cast<double>(count);
  state.counters["p50"] = puts.Quantile(0.5);
  state.counters["p99"] = puts.Quantile(0.99);
  state.counters["p99_9"] = puts.Quantile(0.999);
  state.counters["p99_9_to_p50"] = puts.Quantile(0.999) / puts.Quantile(0.5);
  state.counters["codec_p50"] = codec_only.Quantile(0.5);
  state.counters["codec_p99_9"] = codec_only.Quantile(0.999);
  state.counters["worst_us"] = puts.Quantile(1) / 1000;
}

}  // namespace
}  // namespace tmem

int main(int argc, char** argv) {
  using namespace tmem;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const auto corpora = LoadCorpora(16384);
  if (!corpora) Stop(corpora.error().message);
  const SizeStream stream(*corpora);
  for (const uint64_t mib : {64, 512, 4096}) {
    if (mib == 4096 && AvailableMemory() < GiB(6)) continue;
    benchmark::RegisterBenchmark(
        ("churn/capacity:" + std::to_string(mib)).c_str(),
        [&stream, mib](State& state) { RunChurn(state, stream, MiB(mib)); })
        ->Iterations(1)
        ->Unit(benchmark::kSecond);
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
