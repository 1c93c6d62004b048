// What the way through the ring costs: a page's put or get by a guest, above the store's own cost.
//
//   bench_ring [--benchmark_filter=REGEX]
//
// The guest is this program's main thread with the client library; the daemon is its service with
// one worker, on another core, over the loopback hypervisor. Both poll. Pages are warm, raw and 32
// a batch: `batch` is one request of 32 consecutive pages, `requests` are 32 requests of a page
// each, under way together. A put replaces a page.
//
// Counters are medians of rounds in which the ring and the store alone took turns, in ns a page:
// `ns` by the ring, on the clock; `store_ns` of the same operations on a store of the same size in
// this thread; `above_ns` is the difference, of which the copies into and out of the data slots are
// a part (`copies_ns`: two copies of a page that is warm).
#include <benchmark/benchmark.h>
#include <poll.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "client/tmem_client.h"
#include "daemon/hypervisor_factory.h"
#include "daemon/service.h"
#include "filled_store.h"
#include "hypercall/loopback/bell.h"
#include "rounds.h"

namespace tmem {
namespace {

using benchmark::State;

constexpr uint32_t kPages = 1 << 16;
constexpr uint32_t kBatch = 32;
constexpr uint32_t kBatchesARound = 64;
constexpr int kRounds = 200;

[[noreturn]] void Stop(const std::string& why) {
  std::fprintf(stderr, "bench_ring: %s\n", why.c_str());
  std::exit(1);
}

// The daemon but for its process: a folder with its socket, its service, and its control thread.
class ServiceInThread {
 public:
  ServiceInThread() {
    char name[] = "/tmp/tmem-bench-XXXXXX";
    if (mkdtemp(name) == nullptr) Stop("cannot make a folder in /tmp");
    folder_ = name;
    daemon::Config config;
    config.hypervisor = daemon::HypervisorKind::kLoopback;
    config.loopback_socket = socket();
    config.capacity = Bytes(uint64_t{kPages} * (kPageSize + 64)) + MiB(64);
    config.workers = 1;
    config.spin_us = 10'000;
    for (CompressMode& mode : config.guest_defaults.compress) mode = CompressMode::kOff;
    auto hypervisor = daemon::MakeHypervisor(config);
    if (!hypervisor) Stop(hypervisor.error().message);
    auto service = daemon::Service::Create(config, *std::move(hypervisor), clock_);
    if (!service) Stop(service.error().message);
    service_ = *std::move(service);
    if (const auto started = service_->Start(); !started) Stop(started.error().message);
    control_ = std::thread([this] { Control(); });
  }
  ~ServiceInThread() {
    stop_ = true;
    bell_.Ring();
    control_.join();
    service_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  ServiceInThread(const ServiceInThread&) = delete;
  ServiceInThread& operator=(const ServiceInThread&) = delete;

  std::string socket() const { return folder_ + "/socket"; }

 private:
  void Control() {
    while (!stop_) {
      std::vector<pollfd> waits = {{bell_.fd(), POLLIN, 0}};
      for (const int fd : service_->PollFds()) waits.push_back({fd, POLLIN, 0});
      (void)::poll(waits.data(), waits.size(), -1);
      service_->HandleEvents();
    }
  }

  std::string folder_;
  const SteadyClock clock_;
  const loopback::Bell bell_ = *loopback::Bell::Create();
  std::atomic<bool> stop_{false};
  std::unique_ptr<daemon::Service> service_;
  std::thread control_;
};

// Pages that are put from and got into.
struct WarmPages {
  std::span<std::byte, kPageSize> page(uint32_t k) {
    return std::span<std::byte, kPageSize>(bytes.data() + k * kPageSize, kPageSize);
  }
  alignas(kPageSize) std::array<std::byte, kBatch * kPageSize> bytes{};
};

// A guest whose every page is stored.
class RingGuest {
 public:
  RingGuest() {
    tmem_options options{};
    options.spin_us = UINT32_MAX;
    char error[256] = "";
    client_ = tmem_connect(service_.socket().c_str(), "bench", &options, error, sizeof error);
    if (client_ == nullptr) Stop(error);
    pool_ = tmem_new_pool(client_, nullptr, TMEM_POOL_PERSIST);
    WarmPages pages;
    for (uint32_t first = 0; first < kPages; first += kBatch) PutBatch(first, pages);
  }
  ~RingGuest() { tmem_disconnect(client_); }
  RingGuest(const RingGuest&) = delete;
  RingGuest& operator=(const RingGuest&) = delete;

  void PutBatch(uint32_t first, WarmPages& pages) {
    const auto [oid, index] = Place(first);
    Check(tmem_put_batch(client_, pool_, &oid, index, kBatch, pages.bytes.data(), nullptr));
  }
  void GetBatch(uint32_t first, WarmPages& pages) {
    const auto [oid, index] = Place(first);
    Check(tmem_get_batch(client_, pool_, &oid, index, kBatch, pages.bytes.data(), nullptr));
  }
  void PutRequests(uint32_t first, WarmPages& pages) {
    const auto [oid, index] = Place(first);
    for (uint32_t k = 0; k < kBatch; ++k) {
      (void)tmem_submit_put(client_, pool_, &oid, index + k, 1, pages.page(k).data(), &Done, this);
    }
    AwaitDone();
  }
  void GetRequests(uint32_t first, WarmPages& pages) {
    const auto [oid, index] = Place(first);
    for (uint32_t k = 0; k < kBatch; ++k) {
      (void)tmem_submit_get(client_, pool_, &oid, index + k, 1, pages.page(k).data(), &Done, this);
    }
    AwaitDone();
  }

 private:
  static std::pair<tmem_oid, uint32_t> Place(uint32_t page) {
    return {{{page / FilledStore::kPagesAnObject, 0, 0}}, page % FilledStore::kPagesAnObject};
  }
  // A benchmark of failures would look very good.
  static void Check(int pages_done) {
    if (pages_done != static_cast<int>(kBatch)) Stop("a page was refused or not found");
  }
  static void Done(void* self, int result, uint64_t) {
    static_cast<RingGuest*>(self)->done_ += result == 1 ? 1 : 0;
  }
  void AwaitDone() {
    (void)tmem_drain(client_);
    Check(std::exchange(done_, 0));
  }

  ServiceInThread service_;
  tmem_client* client_ = nullptr;
  int pool_ = -1;
  int done_ = 0;
};

struct Bed {
  Bed() : filled(kPages, PageClass::kPersistent, CompressMode::kOff) {
    for (uint32_t page = 0; page < kPages; ++page) filled.Put(page, pages.page(0));
  }
  RingGuest ring;
  FilledStore filled;
  WarmPages pages;
  FastRandom random{1};
};

using RingOperation = void (RingGuest::*)(uint32_t first, WarmPages& pages);
enum class Kind { kPut, kGet };

void Above(State& state, Bed& bed, RingOperation by_ring, Kind kind) {
  Rounds ring;
  Rounds store;
  Rounds copies;
  std::array<uint32_t, kBatchesARound> batches;
  constexpr uint32_t kPagesARound = kBatchesARound * kBatch;
  for (auto _ : state) {
    for (uint32_t& first : batches) first = bed.random.Below(kPages / kBatch) * kBatch;
    const double took = ring.TimeOnce([&] {
      for (const uint32_t first : batches) (bed.ring.*by_ring)(first, bed.pages);
    });
    state.SetIterationTime(took / kPagesARound);
    for (uint32_t& first : batches) first = bed.random.Below(kPages / kBatch) * kBatch;
    store.TimeOnce([&] {
      for (const uint32_t first : batches) {
        for (uint32_t k = 0; k < kBatch; ++k) {
          if (kind == Kind::kPut) {
            bed.filled.Put(first + k, bed.pages.page(k));
          } else {
            bed.filled.Get(first + k, bed.pages.page(k));
          }
        }
      }
    });
    WarmPages slots;
    copies.TimeOnce([&] {
      for (uint32_t batch = 0; batch < kBatchesARound; ++batch) {
        for (uint32_t k = 0; k < kBatch; ++k) {
          std::ranges::copy(bed.pages.page(k), slots.page(k).begin());
          benchmark::DoNotOptimize(slots.page(k).data());
          std::ranges::copy(slots.page(k), bed.pages.page(k).begin());
          benchmark::DoNotOptimize(bed.pages.page(k).data());
        }
      }
    });
  }
  state.counters["ns"] = ring.MedianNs() / kPagesARound;
  state.counters["store_ns"] = store.MedianNs() / kPagesARound;
  state.counters["above_ns"] = (ring.MedianNs() - store.MedianNs()) / kPagesARound;
  state.counters["copies_ns"] = copies.MedianNs() / kPagesARound;
}

void RegisterAll(Bed& bed) {
  const auto add = [&bed](const char* name, RingOperation operation, Kind kind) {
    benchmark::RegisterBenchmark(
        name, [&bed, operation, kind](State& state) { Above(state, bed, operation, kind); })
        ->UseManualTime()
        ->Iterations(kRounds);
  };
  add("put/batch", &RingGuest::PutBatch, Kind::kPut);
  add("get/batch", &RingGuest::GetBatch, Kind::kGet);
  add("put/requests", &RingGuest::PutRequests, Kind::kPut);
  add("get/requests", &RingGuest::GetRequests, Kind::kGet);
}

}  // namespace
}  // namespace tmem

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  tmem::Bed bed;
  tmem::RegisterAll(bed);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
