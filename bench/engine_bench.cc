// What the inside of a segment could be: slots of one size, as the store has them, or an
// append-only log with a cleaner. docs/decisions/0001-slots-in-segments.md has the figures.
//
//   TMEM_CORPUS=DIR bench_engine [--benchmark_filter='slots/capacity:4096/memory:1.09']
//
// The same pages come, are replaced and go (churn.h, size_stream.h: real sizes, which shift, six
// times the store's size) in as much memory, of which payloads are always the same part:
// `memory:1.09` is capacity over payloads. There is no index, codec, lock or checksum; a put copies
// the payload, of the size that LZ4 has for the page. Counters:
//   moved     bytes moved to make room, a byte put
//   refused   puts without room, in percent
//   memory    segments in use over payloads, at the end
//   p50, p99_9, worst_us   of a put (latencies.h)
// Capacities are in MiB; 4096 needs 6 GiB of memory and is left out without.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "block_engine.h"
#include "churn.h"
#include "latencies.h"
#include "log_engine.h"
#include "page_buffer.h"
#include "page_corpus.h"
#include "size_stream.h"
#include "slot_engine.h"

namespace tmem {
namespace {

using benchmark::State;
using MakeEngine = std::function<std::unique_ptr<Engine>(uint32_t segments)>;

// A put of what LZ4 would make of the page: as many bytes of it.
bool Put(Engine& engine, uint32_t number, const SizeStream::Sized& sized) {
  return engine.Put(number, sized.page.first(sized.bytes));
}

void Run(State& state, const SizeStream& stream, const MakeEngine& make, uint64_t capacity,
         double memory) {
  const auto engine = make(static_cast<uint32_t>(capacity / kSegmentSize));
  const auto full = static_cast<uint64_t>(static_cast<double>(capacity) / memory);
  Churn churn(stream);
  bool filling = true;
  while (filling && churn.payload_bytes() < full) {
    churn.Fill([&](uint32_t number, const SizeStream::Sized& sized) {
      return filling = Put(*engine, number, sized);
    });
  }
  if (!filling) return state.SkipWithError("it cannot be filled as far");

  Latencies puts;
  uint64_t count = 0;
  uint64_t refused = 0;
  const uint64_t moved_before = engine->moved_bytes();
  const uint64_t put_before = churn.put_bytes();
  const auto put = [&](uint32_t number, const SizeStream::Sized& sized) {
    const bool stored = puts.Time([&] { return Put(*engine, number, sized); });
    ++count;
    refused += stored ? 0 : 1;
    return stored;
  };
  const auto flush = [&](uint32_t number) { engine->Free(number); };
  for (auto _ : state) {
    for (int phase = 0; phase < SizeStream::kPhases; ++phase) {
      const uint64_t until = churn.put_bytes() + full;
      while (churn.put_bytes() < until) churn.Step(phase, full, put, flush);
    }
  }
  state.counters["moved"] = static_cast<double>(engine->moved_bytes() - moved_before) /
                            static_cast<double>(churn.put_bytes() - put_before);
  state.counters["refused"] = 100.0 * static_cast<double>(refused) / static_cast<double>(count);
  state.counters["memory"] = static_cast<double>(engine->segments_in_use()) * kSegmentSize /
                             static_cast<double>(churn.payload_bytes());
  state.counters["p50"] = puts.Quantile(0.5);
  state.counters["p99_9"] = puts.Quantile(0.999);
  state.counters["worst_us"] = puts.Quantile(1) / 1000;
}

void RegisterAll(const SizeStream& stream) {
  const auto log = [](LogEngine::Policy policy) -> MakeEngine {
    return [policy](uint32_t segments) { return std::make_unique<LogEngine>(segments, policy); };
  };
  const std::vector<std::pair<std::string, MakeEngine>> engines = {
      {"slots", [](uint32_t segments) { return std::make_unique<SlotEngine>(segments); }},
      {"blocks", [](uint32_t segments) { return std::make_unique<BlockEngine>(segments); }},
      {"log:greedy", log(LogEngine::Policy::kGreedy)},
      {"log:cost-benefit", log(LogEngine::Policy::kCostBenefit)}};
  for (const uint64_t mib : {256, 4096}) {
    if (mib == 4096 && AvailableMemory() < GiB(6)) continue;
    for (const auto& [name, make] : engines) {
      for (const auto& [memory, value] : {std::pair{"1.06", 1.06}, std::pair{"1.09", 1.09},
                                          std::pair{"1.15", 1.15}, std::pair{"1.30", 1.30}}) {
        const std::string full_name =
            name + "/capacity:" + std::to_string(mib) + "/memory:" + memory;
        benchmark::RegisterBenchmark(full_name.c_str(),
                                     [&stream, make, mib, value](State& state) {
                                       Run(state, stream, make, mib << 20, value);
                                     })
            ->Iterations(1)
            ->Unit(benchmark::kSecond);
      }
    }
  }
}

}  // namespace
}  // namespace tmem

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const auto corpora = tmem::LoadCorpora(16384);
  if (!corpora) {
    std::fprintf(stderr, "bench_engine: %s\n", corpora.error().message.c_str());
    return 1;
  }
  const tmem::SizeStream stream(*corpora);
  tmem::RegisterAll(stream);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
