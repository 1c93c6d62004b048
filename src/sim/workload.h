// What a simulated program does: a stream of accesses to its pages, one at a time, without end or
// until its work is done.
//
//   usemem   writes ever more of its memory from front to back, then all of it again and again
//            (SmarTmem's synthetic load; the worst case of any replacement)
//   graph    loads a graph, then iterates: edges in order, vertices by a skewed choice
//   zipf     a cache of files: pages read by popularity, 1/rank^skew
//   scan     a file read from front to back, again and again
//   diurnal  popularity as zipf, over a working set that swells and shrinks with the time of day
//   trace    recorded accesses
//
// A stream belongs to one guest and one thread.
#ifndef TMEM_SIM_WORKLOAD_H_
#define TMEM_SIM_WORKLOAD_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sim/cost_model.h"
#include "sim/random.h"

namespace tmem::sim {

enum class WorkloadKind : uint8_t { kUsemem, kGraph, kZipf, kScan, kDiurnal, kTrace };
inline constexpr std::array<std::string_view, 6> kWorkloadNames = {"usemem", "graph",   "zipf",
                                                                   "scan",   "diurnal", "trace"};

// Pages of a program's own (swap), or of files that are on disk anyway (page cache).
enum class MemoryKind : uint8_t { kAnonymous, kFile };

struct WorkloadSpec {
  WorkloadKind kind = WorkloadKind::kUsemem;
  MemoryKind memory = MemoryKind::kAnonymous;
  uint32_t pages = 0;     // the program's memory, or its files
  uint64_t accesses = 0;  // its work; 0: without end
  double skew = 0.9;      // zipf, graph and diurnal
  double period = 60;     // diurnal: seconds a day
  double phase = 0;       // diurnal: the part of a day that has passed at the start, 0..1
  std::vector<uint32_t> trace{};
};

class Workload {
 public:
  virtual ~Workload() = default;
  // The page that is accessed next, at virtual time `now`; below the spec's `pages`.
  virtual uint32_t Next(Nanoseconds now) = 0;
};

// REQUIRES: spec.pages > 0, and a trace for kTrace.
std::unique_ptr<Workload> MakeWorkload(const WorkloadSpec& spec, uint64_t seed);

// A recorded stream: one page number (decimal, or hexadecimal with 0x) a line; lines that begin
// with # are skipped. Numbers are made dense: the first page met is 0, the next new one 1.
// kInvalid with the line's number.
Result<std::vector<uint32_t>> ReadTrace(const std::string& path);

}  // namespace tmem::sim

#endif  // TMEM_SIM_WORKLOAD_H_
