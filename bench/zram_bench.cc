// Our LZ4 pages beside the kernel's: zram with LZ4, which stores the same pages.
//
//   TMEM_ZRAM=/dev/zram0 TMEM_CORPUS=DIR bench_zram     (tools/bench zram sets the device up)
//
// `put` and `get` are of pages compressed as they come, `auto_put` of pages that are compressed
// later, which its time does not count. All hold the pages of a corpus over and over, 1 GiB of
// them. zram is read and written directly (O_DIRECT), 4 KiB at a time; both in random order, in
// rounds that take turns. Counters are medians of rounds, ns a page: `ns` ours, `zram_ns`, of which
// the system does all in the calling thread, too. `memory` is the memory that each uses over the
// payload that it keeps, `zram_memory`: for us whole segments, for zram what it says (mm_stat),
// which is zsmalloc's pages. Neither counts its index. REQUIRES: the device is of kPages pages at
// least, and nobody uses it.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "filled_store.h"
#include "page_buffer.h"
#include "page_corpus.h"
#include "pools/backlog.h"
#include "rounds.h"

namespace tmem {
namespace {

using benchmark::State;

constexpr uint32_t kPages = 1 << 18;
constexpr uint32_t kRound = 2048;  // operations
static_assert(kRound <= Backlog::kMost);
constexpr int kRounds = 60;

[[noreturn]] void Stop(const std::string& why) {
  std::fprintf(stderr, "bench_zram: %s\n", why.c_str());
  std::exit(1);
}

class Zram {
 public:
  explicit Zram(const std::string& path)
      : statistics_("/sys/block/" + std::filesystem::path(path).filename().string() + "/mm_stat"),
        fd_(open(path.c_str(), O_RDWR | O_DIRECT | O_EXCL | O_CLOEXEC)) {
    if (fd_ < 0) Stop("cannot open " + path + ": " + std::strerror(errno));
  }
  ~Zram() { close(fd_); }
  Zram(const Zram&) = delete;
  Zram& operator=(const Zram&) = delete;

  // REQUIRES: the page is aligned as direct I/O wants it.
  void Write(uint32_t index, PageView page) {
    if (pwrite(fd_, page.data(), kPageSize, OffsetOf(index)) != kPageSize) Stop("a write fails");
  }
  void Read(uint32_t index, MutablePageView page) {
    if (pread(fd_, page.data(), kPageSize, OffsetOf(index)) != kPageSize) Stop("a read fails");
  }

  struct Use {
    double compressed;  // bytes of payloads
    double memory;      // bytes that hold them
  };
  Use use() const {
    std::ifstream file(statistics_);
    double original = 0;
    Use use{};
    if (!(file >> original >> use.compressed >> use.memory)) Stop("cannot read " + statistics_);
    return use;
  }

 private:
  static off_t OffsetOf(uint32_t index) { return off_t{index} * off_t{kPageSize}; }

  const std::string statistics_;
  const int fd_;
};

// The pages of a corpus, here for direct I/O, in our store and in zram.
struct Bed {
  Bed(const PageCorpus& corpus, Zram& device)
      : pages(static_cast<uint32_t>(corpus.size())),
        filled(kPages, PageClass::kPersistent, CompressMode::kFast),
        later(kPages, PageClass::kPersistent, CompressMode::kAuto),
        zram(device) {
    for (uint32_t i = 0; i < pages.size(); ++i) {
      std::ranges::copy(corpus.page(i), pages.page(i).begin());
    }
    for (uint32_t i = 0; i < kPages; ++i) {
      filled.Put(i, PageOf(i));
      later.Put(i, PageOf(i));
      zram.Write(i, PageOf(i));
      if (i % kRound == 0) later.CompressWhatWaits();
    }
    later.CompressWhatWaits();
  }
  MutablePageView PageOf(uint32_t index) { return pages.page(index % pages.size()); }

  PageBuffer pages;
  FilledStore filled;
  FilledStore later;  // compresses what was put when a round is over
  Zram& zram;
  FastRandom random{1};
  alignas(kPageSize) std::array<std::byte, kPageSize> out;
};

// Rounds of ours and zram's, on as many pages each that were drawn before; `rest` comes after ours.
template <class Ours, class Theirs, class Rest>
void InTurn(State& state, Bed& bed, Ours ours, Theirs theirs, Rest rest) {
  Rounds our_rounds;
  Rounds zram_rounds;
  std::array<uint32_t, kRound> drawn;
  const auto round = [&](Rounds& rounds, auto operate) {
    for (uint32_t& page : drawn) page = bed.random.Below(kPages);
    return rounds.Time(kRound, [&](uint32_t i) { operate(drawn[i]); });
  };
  for (auto _ : state) {
    round(zram_rounds, theirs);
    state.SetIterationTime(round(our_rounds, ours));
    rest();
  }
  state.counters["ns"] = our_rounds.MedianNs();
  state.counters["zram_ns"] = zram_rounds.MedianNs();
}

void Put(State& state, Bed& bed) {
  InTurn(
      state, bed, [&](uint32_t page) { bed.filled.Put(page, bed.PageOf(page)); },
      [&](uint32_t page) { bed.zram.Write(page, bed.PageOf(page)); }, [] {});
}

void AutoPut(State& state, Bed& bed) {
  InTurn(
      state, bed, [&](uint32_t page) { bed.later.Put(page, bed.PageOf(page)); },
      [&](uint32_t page) { bed.zram.Write(page, bed.PageOf(page)); },
      [&] { bed.later.CompressWhatWaits(); });
}

void Get(State& state, Bed& bed) {
  InTurn(
      state, bed, [&](uint32_t page) { bed.filled.Get(page, bed.out); },
      [&](uint32_t page) { bed.zram.Read(page, bed.out); }, [] {});
}

void Memory(State& state, Bed& bed) {
  for (auto _ : state) {
    const FilledStore::Overhead ours = bed.filled.OverheadAPage();
    const Zram::Use theirs = bed.zram.use();
    state.counters["memory"] = (ours.payload + ours.segments) / ours.payload;
    state.counters["zram_memory"] = theirs.memory / theirs.compressed;
  }
}

}  // namespace
}  // namespace tmem

int main(int argc, char** argv) {
  using namespace tmem;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const char* const device = std::getenv("TMEM_ZRAM");
  if (device == nullptr) Stop("TMEM_ZRAM names no device; tools/bench zram sets one up");
  const auto corpora = LoadCorpora(kPages);
  if (!corpora) Stop(corpora.error().message);
  Zram zram(device);
  std::unique_ptr<Bed> bed;  // of one corpus after the other: the device holds one
  const PageCorpus* filled_with = nullptr;
  for (const PageCorpus& corpus : *corpora) {
    const auto add = [&](const char* name, void (*function)(State&, Bed&), int rounds) {
      benchmark::RegisterBenchmark((corpus.name + "/" + name).c_str(),
                                   [&, function](State& state) {
                                     if (filled_with != &corpus) {
                                       bed.reset();
                                       bed = std::make_unique<Bed>(corpus, zram);
                                       filled_with = &corpus;
                                     }
                                     function(state, *bed);
                                   })
          ->UseManualTime()
          ->Iterations(rounds);
    };
    add("memory", Memory, 1);  // before anything is replaced
    add("put", Put, kRounds);
    add("auto_put", AutoPut, kRounds);
    add("get", Get, kRounds);
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
