// What a stored page costs in memory beside its payload, at 10 million pages.
//
//   bench_overhead [--benchmark_filter=pages:1000000]
//
// The payloads are small, 40 to 290 bytes, so that they fit: 10 million pages need 4 GiB and are
// left out without. They come in random order, into objects of 1,024 pages. Counters are bytes a
// page, by the store's own figures: `payload`; `index`, of objects, page trees and tables;
// `segments`, of record headers, rounding and free slots. `beside` is what the process really holds
// more than payloads, by the kernel's count of its resident pages.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <fstream>
#include <string>

#include "filled_store.h"
#include "page_buffer.h"
#include "rounds.h"

namespace tmem {
namespace {

using benchmark::State;

double ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  double total = 0;
  double resident = 0;
  file >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

// A number of random bytes, then zeros.
class SmallPages {
 public:
  PageView Next() {
    const size_t words = 2 + random_.Below(32);
    page_.fill(std::byte{0});
    for (size_t i = 0; i < words; ++i) {
      const uint64_t word = random_.Next();
      std::memcpy(page_.data() + i * sizeof word, &word, sizeof word);
    }
    return page_;
  }

 private:
  FastRandom random_{1};
  std::array<std::byte, kPageSize> page_;
};

void Overhead(State& state, uint32_t pages) {
  constexpr uint64_t kStride = 7'368'787;  // prime, so that every page has its turn
  for (auto _ : state) {
    FilledStore filled(pages, PageClass::kPersistent, CompressMode::kFast);
    SmallPages small;
    const double before = ResidentBytes();
    for (uint32_t i = 0; i < pages; ++i) {
      filled.Put(static_cast<uint32_t>(i * kStride % pages), small.Next());
    }
    const double held = ResidentBytes() - before;
    const FilledStore::Overhead overhead = filled.OverheadAPage();
    state.counters["payload"] = overhead.payload;
    state.counters["index"] = overhead.index;
    state.counters["segments"] = overhead.segments;
    state.counters["beside"] = held / pages - overhead.payload;
  }
}

}  // namespace
}  // namespace tmem

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  for (const uint32_t pages : {1'000'000u, 10'000'000u}) {
    if (pages == 10'000'000 && tmem::AvailableMemory() < tmem::GiB(4)) continue;
    benchmark::RegisterBenchmark(("overhead/pages:" + std::to_string(pages)).c_str(),
                                 [pages](benchmark::State& state) { tmem::Overhead(state, pages); })
        ->Iterations(1)
        ->Unit(benchmark::kSecond);
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
