// A simulated guest: a program with some memory of its own, and the store behind it, where it would
// have a disk otherwise.
//
// Anonymous pages are put into a persistent pool when they leave the guest's memory, and flushed
// from there when they come back, for the program then changes them; what the store refuses goes to
// disk, and comes from there. Pages of files are put into an ephemeral pool, and read from disk
// when they are not there any more. The guest's own replacement is a clock. Each put and get is one
// of the real store; only time is made up (cost_model.h), and each guest has its own.
//
// A guest belongs to one thread. Pages that come back are checked.
#ifndef TMEM_SIM_GUEST_H_
#define TMEM_SIM_GUEST_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/units.h"
#include "compress/page_codec.h"
#include "pools/store.h"
#include "sim/cost_model.h"
#include "sim/workload.h"

namespace tmem::sim {

struct GuestSpec {
  std::string name;
  size_t kind = 0;  // those of one line of the scenario are alike
  WorkloadSpec workload;
  uint32_t resident = 0;     // pages of its own memory, at least 1
  double start = 0;          // seconds
  double think = 0;          // seconds between two accesses, in which it does something else
  double stored = 1;         // what a page is compressed to, 0..1; 1: it is not tried
  GuestSettings settings{};  // compress follows `stored`
};

// What a guest did until now.
struct GuestRun {
  uint64_t accesses = 0;
  uint64_t puts = 0;  // stored
  uint64_t refused = 0;
  uint64_t gets = 0;  // found
  uint64_t disk_reads = 0;
  uint64_t disk_writes = 0;
  Nanoseconds elapsed = 0;  // without the time between accesses
  Nanoseconds ideal = 0;    // the same accesses, if all of its memory were its own

  double slowdown() const {
    return ideal == 0 ? 1 : static_cast<double>(elapsed) / static_cast<double>(ideal);
  }
};

class Guest {
 public:
  // References must outlive the guest. REQUIRES: spec.resident > 0, and MakeWorkload's.
  Guest(Store& store, PageCodec& codec, const CostModel& cost, const GuestSpec& spec, GuestId id,
        uint64_t seed);

  const GuestSpec& spec() const { return spec_; }
  const GuestRun& run() const { return run_; }
  Nanoseconds now() const { return now_; }
  // Its work is done; it is not in the store any more. Work without end never is.
  bool done() const {
    return spec_.workload.accesses > 0 && run_.accesses >= spec_.workload.accesses;
  }
  // Has begun and is not done.
  bool present() const { return handle_ != nullptr; }
  // What the store holds for it, in whole segments.
  Bytes Held() const;

  // Goes on until its time has come to `until`, or it is done. Enters the store with the first
  // call.
  void Run(Nanoseconds until);

 private:
  enum class Place : uint8_t { kNowhere, kResident, kStore, kDisk };
  struct PageState {
    Place place = Place::kNowhere;
    bool referenced = false;
  };

  void Enter();
  void Leave();
  void Access(uint32_t page);
  void Fetch(uint32_t page);
  void MakeResident(uint32_t page);
  void PutOut(uint32_t page);
  bool GetBack(uint32_t page);
  void Spend(Nanoseconds time) {
    now_ += time;
    run_.elapsed += time;
  }
  bool anonymous() const { return spec_.workload.memory == MemoryKind::kAnonymous; }
  Handle HandleOf(uint32_t page) const;

  Store& store_;
  PageCodec& codec_;
  const CostModel& cost_;
  const GuestSpec spec_;
  const GuestId id_;
  const Nanoseconds think_;
  const std::unique_ptr<Workload> workload_;
  Nanoseconds now_;
  GuestRun run_;
  std::shared_ptr<tmem::Guest> handle_;
  PoolId pool_{};
  std::vector<PageState> pages_;
  std::vector<uint32_t> frames_;  // pages that are resident, the clock's circle
  size_t hand_ = 0;
  alignas(64) std::array<std::byte, kPageSize> contents_{};
};

}  // namespace tmem::sim

#endif  // TMEM_SIM_GUEST_H_
