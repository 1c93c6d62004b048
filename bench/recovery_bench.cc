// How long a store needs to find its pages again after its process ended.
//
//   bench_recovery [--benchmark_filter=REGEX]
//
// One guest's pages, raw, in objects of 1,024; the store is closed and opened again on the same
// folder of /dev/shm. Time is from opening until the guest is ready; `s_a_million` is what a
// million pages take (target: at most 2 s on one core). A million pages need 6 GiB of memory and
// are left out without.
#include <benchmark/benchmark.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "page_buffer.h"
#include "pools/store.h"

namespace tmem {
namespace {

using benchmark::State;

constexpr uint32_t kPagesAnObject = 1024;

// A folder with a store of so many pages, gone with this object.
class LeftStore {
 public:
  explicit LeftStore(uint32_t pages) : pages_(pages) {
    char name[] = "/dev/shm/tmem-bench-XXXXXX";
    if (mkdtemp(name) == nullptr) Stop("cannot make a folder in /dev/shm");
    folder_ = name;
    const auto store = Open(1);
    const auto guest = store->AddGuest(GuestId{1}, Settings());
    const auto pool = store->NewPool(**guest, {.page_class = PageClass::kPersistent});
    PageCodec codec{PageCodec::Config{}};
    std::array<std::byte, kPageSize> page{};
    for (uint32_t i = 0; i < pages; ++i) {
      std::memcpy(page.data(), &i, sizeof i);
      const Handle handle{*pool, ObjectId{{i / kPagesAnObject, 0, 0}},
                          PageIndex{i % kPagesAnObject}};
      if (store->Put(**guest, handle, page, codec) != PutStatus::kStored) Stop("a put is refused");
    }
  }
  ~LeftStore() { std::filesystem::remove_all(folder_); }

  uint32_t pages() const { return pages_; }
  std::unique_ptr<Store> Open(uint32_t threads) const {
    auto store = Store::Create({.path = folder_ + "/store",
                                .recovery_threads = threads,
                                .capacity = Bytes(uint64_t{pages_} * (kPageSize + 64)) + MiB(64)});
    if (!store) Stop(store.error().message.c_str());
    return *std::move(store);
  }
  static GuestSettings Settings() {
    GuestSettings settings;
    for (auto& mode : settings.compress) mode = CompressMode::kOff;
    return settings;
  }

 private:
  [[noreturn]] static void Stop(const char* why) {
    std::fprintf(stderr, "bench_recovery: %s\n", why);
    std::exit(1);
  }

  const uint32_t pages_;
  std::string folder_;
};

void Recover(State& state, const LeftStore& left, uint32_t threads) {
  double sum = 0;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    const auto store = left.Open(threads);
    while (!store->recovery_progress().done()) std::this_thread::yield();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    state.SetIterationTime(took.count());
    sum += took.count();
    if (store->recovery_progress().pages != left.pages()) state.SkipWithError("pages are missing");
  }
  state.counters["s_a_million"] =
      sum / static_cast<double>(state.iterations()) / left.pages() * 1e6;
}

}  // namespace
}  // namespace tmem

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  std::unique_ptr<tmem::LeftStore> left;  // by a benchmark, for the next ones of that size
  for (const uint32_t pages : {100'000u, 1'000'000u}) {
    if (pages == 1'000'000 && tmem::AvailableMemory() < tmem::GiB(6)) continue;
    for (const uint32_t threads : {1u, 2u}) {
      const std::string name =
          "recovery/pages:" + std::to_string(pages) + "/threads:" + std::to_string(threads);
      benchmark::RegisterBenchmark(name.c_str(),
                                   [&left, pages, threads](benchmark::State& state) {
                                     if (!left || left->pages() != pages) {
                                       left.reset();
                                       left = std::make_unique<tmem::LeftStore>(pages);
                                     }
                                     tmem::Recover(state, *left, threads);
                                   })
          ->UseManualTime()
          ->Iterations(5)
          ->Unit(benchmark::kMillisecond);
    }
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
