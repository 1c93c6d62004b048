// What timing some requests costs all of them (hypercall/operation_times.h).
//
//   bench_operation_times
//
// `Request` is what the queue does about each request: a countdown, and once in kSampleEvery two
// readings of the clock and a count. `Timed` is that once. Target: at most 2 ns a request.
#include <benchmark/benchmark.h>

#include "base/clock.h"
#include "hypercall/operation_times.h"

namespace tmem {
namespace {

void Request(benchmark::State& state) {
  const SteadyClock clock;
  OperationTimes times(clock);
  for (auto _ : state) {
    if (times.IsNext()) {
      times.Begin();
      times.End(TMEMIF_OP_GET_PAGE, 1);
    }
    benchmark::ClobberMemory();
  }
}
BENCHMARK(Request);

void Timed(benchmark::State& state) {
  const SteadyClock clock;
  OperationTimes times(clock);
  for (auto _ : state) {
    times.Begin();
    times.End(TMEMIF_OP_GET_PAGE, 1);
  }
}
BENCHMARK(Timed);

void Nothing(benchmark::State& state) {
  for (auto _ : state) benchmark::ClobberMemory();
}
BENCHMARK(Nothing);

}  // namespace
}  // namespace tmem

BENCHMARK_MAIN();
