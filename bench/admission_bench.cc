// What admission costs a put: may the page be stored, and whose memory makes room.
//
//   bench_admission [--benchmark_filter=REGEX]
//
// A put takes a charge against its guest's cap; one in as many as a segment holds (255 raw pages:
// fewest, so that this is the dearest case) asks Memory for a segment. The time of `free` and
// `full` is that of a put, both together; the target is 30 ns. `free` takes segments that are
// there; `full` evicts another one for each, the capacity being all ephemeral pages (the eviction
// itself, which drops pages, is not counted: the claimants here drop nothing but their numbers).
// `refused` is what a put costs that may not have a segment: each asks again. `tick` is what the
// policy learns once a second, in ns a claimant.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pools/ledger.h"
#include "pools/memory.h"
#include "pools/segment.h"

namespace tmem {
namespace {

using benchmark::State;
using enum PageClass;

constexpr uint32_t kSegmentsEach = 4;

class Claimant final : public Evictable {
 public:
  explicit Claimant(Memory& memory) : memory_(memory), stake_(memory.Join({.weight = 100})) {}
  ~Claimant() override {
    for (const auto page_class : {kEphemeral, kPersistent}) {
      while (GiveBack(page_class)) {
      }
    }
    memory_.Leave(stake_);
  }

  Memory::StakeId stake() const { return stake_; }
  bool Take(PageClass page_class) {
    const SegmentId segment = memory_.Take(stake_, page_class);
    if (segment == kNoSegment) return false;
    held_[static_cast<size_t>(page_class)].push_back(segment);
    return true;
  }
  bool GiveBack(PageClass page_class) {
    auto& held = held_[static_cast<size_t>(page_class)];
    if (held.empty()) return false;
    memory_.GiveBack(stake_, page_class, held.front());
    held.pop_front();
    return true;
  }
  bool EvictOldestSegment() override { return GiveBack(kEphemeral); }
  std::optional<double> TakeSaved() override { return static_cast<double>(stake_); }

 private:
  Memory& memory_;
  const Memory::StakeId stake_;
  std::deque<SegmentId> held_[kPageClasses];
};

struct Host {
  Host(uint32_t guests, PolicyKind policy)
      : arena(std::move(*Arena::Create(guests * kSegmentsEach))),
        memory(*arena, guests * kSegmentsEach, {.kind = policy}) {
    for (uint32_t i = 0; i < guests; ++i) {
      claimants.push_back(std::make_shared<Claimant>(memory));
      memory.SetEvictable(claimants.back()->stake(), claimants.back());
    }
  }

  std::unique_ptr<Arena> arena;
  Memory memory;
  std::vector<std::shared_ptr<Claimant>> claimants;
};

const uint32_t kPutsASegment = SlotsPerSegment(SizeClassFor(kPageSize));

// Puts of one guest after the other, `segments` of them each.
template <class TakeSegment>
void Puts(State& state, TakeSegment take) {
  Ledger ledger(GiB(1));
  uint32_t puts = 0;
  for (auto _ : state) {
    Charge charge = Charge::Take(ledger, RecordCharge(kPageSize));
    benchmark::DoNotOptimize(charge);
    if (++puts == kPutsASegment) {
      puts = 0;
      take();
    }
  }
}

void PutsIntoFree(State& state, Host& host) {
  size_t next = 0;
  Puts(state, [&] {
    Claimant& claimant = *host.claimants[next++ % host.claimants.size()];
    benchmark::DoNotOptimize(claimant.Take(kPersistent));
    claimant.GiveBack(kPersistent);
  });
}

void PutsIntoFull(State& state, Host& host) {
  for (const auto& claimant : host.claimants) {
    for (uint32_t i = 0; i < kSegmentsEach; ++i) claimant->Take(kEphemeral);
  }
  size_t next = 0;
  Puts(state, [&] {
    benchmark::DoNotOptimize(host.claimants[next++ % host.claimants.size()]->Take(kEphemeral));
  });
}

void Refused(State& state, Host& host) {
  for (const auto& claimant : host.claimants) {
    while (claimant->Take(kPersistent)) {
    }
  }
  size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(host.claimants[next++ % host.claimants.size()]->Take(kPersistent));
  }
}

void Tick(State& state, Host& host) {
  for (const auto& claimant : host.claimants) {
    while (claimant->Take(kPersistent)) {
    }
  }
  for (auto _ : state) host.memory.Tick(std::chrono::seconds(1));
}

void Register(const std::string& name, void (*run)(State&, Host&), PolicyKind policy) {
  for (const uint32_t guests : {1u, 20u, 2000u}) {
    benchmark::RegisterBenchmark(
        (name + "/" + std::string(NameOf(policy)) + "/guests:" + std::to_string(guests)).c_str(),
        [run, guests, policy](State& state) {
          Host host(guests, policy);
          run(state, host);
        });
  }
}

}  // namespace
}  // namespace tmem

int main(int argc, char** argv) {
  using namespace tmem;
  for (size_t i = 0; i < kPolicyNames.size(); ++i) {
    const auto policy = static_cast<PolicyKind>(i);
    Register("free", PutsIntoFree, policy);
    Register("full", PutsIntoFull, policy);
    Register("refused", Refused, policy);
    Register("tick", Tick, policy);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
