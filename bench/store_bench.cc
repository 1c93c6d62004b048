// What the page store costs, beside what the same work costs without it.
//
//   bench_store [--benchmark_filter=REGEX] [--benchmark_out=FILE --benchmark_out_format=json]
//   TMEM_CORPUS=DIR bench_store --benchmark_filter=lz4      (pages of tools/page-corpus)
//
// Time is ns an operation, the mean of all rounds; the counters are medians of rounds, in which the
// operation and its yardstick took turns: `ns` and `yardstick_ns`, and `ratio`, which is what the
// targets are about. Yardsticks: memcpy of random 4 KiB pages between two buffers of the store's
// size, both on huge pages as the store is; for LZ4 the bare codec on the same pages; for pages
// that are compressed later, what the backlog has room for, puts of the same pages without
// compression.
//
// Handles are random. Pages are put from, and got into, a few private pages that are warm in the
// cache, as the daemon does it (it copies them from and to the guest's slots); `put_cold` and
// `get_cold` use random pages of the yardstick's buffers instead. Operations
// come in groups of FilledStore::kGroup pages, as a queue makes them of requests that wait in its
// ring; `put_alone` and so on, one at a time. A put replaces a page, a
// persistent get leaves it (and verifies its checksum), an ephemeral get takes it. raw:2M needs 14
// GiB of memory and is left out without.
#include <benchmark/benchmark.h>
#include <lz4.h>

#include <algorithm>
#include <array>
#include <barrier>
#include <cstdio>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "filled_store.h"
#include "page_buffer.h"
#include "page_corpus.h"
#include "pools/backlog.h"
#include "rounds.h"

namespace tmem {
namespace {

using benchmark::State;
using enum PageClass;

constexpr uint32_t kOneGiB = 1 << 18;      // pages
constexpr uint32_t kTwoMillion = 1 << 21;  // pages
constexpr uint32_t kRound = 4096;          // operations
constexpr int kRounds = 100;

void Report(State& state, const Rounds& ours, const Rounds& yardstick) {
  state.counters["ns"] = ours.MedianNs();
  state.counters["yardstick_ns"] = yardstick.MedianNs();
  state.counters["ratio"] = ours.MedianNs() / yardstick.MedianNs();
}

// Two buffers and a store between them.
struct RawBed {
  RawBed(uint32_t pages, PageClass page_class, uint32_t buffer_pages)
      : from(buffer_pages), to(buffer_pages), filled(pages, page_class, CompressMode::kOff) {
    std::vector<uint32_t> order(pages);
    std::iota(order.begin(), order.end(), 0u);
    std::shuffle(order.begin(), order.end(), std::mt19937(1));
    for (const uint32_t page : order) Put(page);
  }

  uint32_t AnyPage() { return random.Below(filled.pages()); }
  MutablePageView Warm() { return from.page(next_warm_++ % kWarmPages); }
  MutablePageView ColdSource() { return from.page(random.Below(from.size())); }
  MutablePageView ColdTarget() { return to.page(random.Below(to.size())); }
  void Put(uint32_t page) { filled.Put(page, Warm()); }
  void Get(uint32_t page) { filled.Get(page, Warm()); }
  void Copy() { std::copy_n(ColdSource().data(), kPageSize, ColdTarget().data()); }

  FastRandom random{1};
  PageBuffer from;
  PageBuffer to;
  FilledStore filled;

 private:
  static constexpr uint32_t kWarmPages = 16;
  uint32_t next_warm_ = 0;
};

// How many pages are worked on together: what waits in a queue's ring, or one.
constexpr uint32_t kTogether = FilledStore::kGroup;
constexpr uint32_t kAlone = 1;
static_assert(kRound % kTogether == 0);

// Does `op(those)` for every `group` of `pages`; for Rounds::Time, which calls it for every page.
template <uint32_t group, class Op>
auto InGroups(std::span<const uint32_t> pages, Op op) {
  return [pages, op](uint32_t i) {
    if (i % group == 0) op(pages.subspan(i, group));
  };
}

// Does `op(page)`, which gets it, for each page; of several, what it looks at is fetched first.
template <class Op>
void GetEach(FilledStore& filled, std::span<const uint32_t> pages, Op op) {
  if (pages.size() > 1) filled.Prefetch(pages, Ahead::kGets);
  for (const uint32_t page : pages) op(page);
}

using Operation = void (*)(RawBed& bed, std::span<const uint32_t> pages);

template <uint32_t group, Operation operate>
void InTurnWithCopies(State& state, RawBed& bed) {
  Rounds operations;
  Rounds copies;
  std::array<uint32_t, kRound> pages;
  for (auto _ : state) {
    copies.Time(kRound, [&](uint32_t) { bed.Copy(); });
    for (uint32_t& page : pages) page = bed.AnyPage();
    state.SetIterationTime(
        operations.Time(kRound, InGroups<group>(pages, [&](auto those) { operate(bed, those); })));
  }
  Report(state, operations, copies);
}

void Put(RawBed& bed, std::span<const uint32_t> pages) {
  bed.filled.PutAll(pages, [&bed](uint32_t) { return bed.Warm(); });
}
void PutCold(RawBed& bed, std::span<const uint32_t> pages) {
  bed.filled.PutAll(pages, [&bed](uint32_t) { return bed.ColdSource(); });
}
void Get(RawBed& bed, std::span<const uint32_t> pages) {
  GetEach(bed.filled, pages, [&bed](uint32_t page) { bed.Get(page); });
}
void GetCold(RawBed& bed, std::span<const uint32_t> pages) {
  GetEach(bed.filled, pages, [&bed](uint32_t page) { bed.filled.Get(page, bed.ColdTarget()); });
}
void FlushPage(RawBed& bed, std::span<const uint32_t> pages) {
  if (pages.size() == 1) return bed.filled.FlushPage(pages[0]);
  bed.filled.FlushPages(pages);
}

// Pages that all differ, in random order, so that each round can take away and put back.
class Turns {
 public:
  explicit Turns(uint32_t count) : order_(count) {
    std::iota(order_.begin(), order_.end(), 0u);
    std::shuffle(order_.begin(), order_.end(), std::mt19937(2));
  }
  // REQUIRES: `count` is a multiple of kRound.
  std::span<const uint32_t> NextRound() {
    const size_t start = std::exchange(start_, (start_ + kRound) % order_.size());
    return std::span(order_).subspan(start, kRound);
  }

 private:
  std::vector<uint32_t> order_;
  size_t start_ = 0;
};

enum class Measured { kTake, kPutBack };

template <Measured measured, uint32_t group, Operation take>
void TakeAndPutBack(State& state, RawBed& bed) {
  Rounds taken;
  Rounds put_back;
  Rounds copies;
  Turns turns(bed.filled.pages());
  for (auto _ : state) {
    copies.Time(kRound, [&](uint32_t) { bed.Copy(); });
    const auto pages = turns.NextRound();
    const double take_time =
        taken.Time(kRound, InGroups<group>(pages, [&](auto those) { take(bed, those); }));
    const double put_time =
        put_back.Time(kRound, InGroups<group>(pages, [&](auto those) { Put(bed, those); }));
    state.SetIterationTime(measured == Measured::kTake ? take_time : put_time);
  }
  Report(state, measured == Measured::kTake ? taken : put_back, copies);
}

// As a guest flushes what lies together: the pages of one object after the other, in order.
void FlushPageInOrder(State& state, RawBed& bed) {
  Rounds flushes;
  Rounds copies;
  std::array<uint32_t, kRound> pages;
  std::iota(pages.begin(), pages.end(), 0u);
  for (auto _ : state) {
    copies.Time(kRound, [&](uint32_t) { bed.Copy(); });
    state.SetIterationTime(flushes.Time(
        kRound, InGroups<kTogether>(pages, [&](auto those) { FlushPage(bed, those); })));
    for (uint32_t& page : pages) {
      bed.Put(page);
      page = (page + kRound) % bed.filled.pages();
    }
  }
  Report(state, flushes, copies);
}

// A whole object of 1,024 pages.
void FlushObject(State& state, RawBed& bed) {
  constexpr uint32_t kPages = FilledStore::kPagesAnObject;
  Rounds flushes;
  for (auto _ : state) {
    const uint32_t object = bed.random.Below(bed.filled.pages() / kPages);
    state.SetIterationTime(flushes.Time(1, [&](uint32_t) { bed.filled.FlushObject(object); }));
    for (uint32_t i = 0; i < kPages; ++i) bed.Put(object * kPages + i);
  }
  state.counters["ns"] = flushes.MedianNs();
}

void Overhead(State& state, RawBed& bed) {
  for (auto _ : state) {
    const FilledStore::Overhead overhead = bed.filled.OverheadAPage();
    state.counters["payload"] = overhead.payload;
    state.counters["index"] = overhead.index;
    state.counters["segments"] = overhead.segments;
    state.counters["beside"] = overhead.beside();
  }
}

// ---- LZ4 ----

// A store of a corpus's pages over and over, and the same payloads one after the other in memory.
struct Lz4Bed {
  explicit Lz4Bed(const PageCorpus& pages)
      : corpus(pages), filled(kOneGiB, kPersistent, CompressMode::kFast) {
    starts.reserve(kOneGiB + 1);
    for (uint32_t i = 0; i < kOneGiB; ++i) {
      filled.Put(i, PageOf(i));
      starts.push_back(payloads.size());
      const size_t size = Compress(PageOf(i));
      // What does not shrink enough is kept raw by the store, and has no payload to decode here.
      if (size > 0) {
        payloads.insert(payloads.end(), scratch.begin(),
                        scratch.begin() + static_cast<int64_t>(size));
      }
    }
    starts.push_back(payloads.size());
  }

  uint32_t AnyPage() { return random.Below(kOneGiB); }
  PageView PageOf(uint32_t index) const { return corpus.page(index % corpus.size()); }
  size_t Compress(PageView page) {
    const int size = LZ4_compress_fast_extState(
        &state, reinterpret_cast<const char*>(page.data()), scratch.data(), kPageSize,
        static_cast<int>(scratch.size()), /*acceleration=*/1);
    return static_cast<size_t>(std::max(size, 0));
  }
  // A page that LZ4 shrinks enough.
  uint32_t AnyCompressed() {
    for (;;) {
      const uint32_t page = AnyPage();
      if (starts[page] != starts[page + 1]) return page;
    }
  }
  void Decompress(uint32_t page) {
    const int size =
        LZ4_decompress_safe(payloads.data() + starts[page], reinterpret_cast<char*>(out.data()),
                            static_cast<int>(starts[page + 1] - starts[page]), kPageSize);
    benchmark::DoNotOptimize(size);
  }

  FastRandom random{1};
  const PageCorpus& corpus;
  FilledStore filled;
  LZ4_stream_t state;
  std::array<char, kMaxCompressed> scratch;
  alignas(64) std::array<std::byte, kPageSize> out;
  std::vector<char> payloads;
  std::vector<size_t> starts;
};

template <uint32_t group>
void Lz4Put(State& state, Lz4Bed& bed) {
  Rounds puts;
  Rounds codec;
  std::array<uint32_t, kRound> pages;
  for (auto _ : state) {
    for (uint32_t& page : pages) page = bed.AnyPage();
    codec.Time(kRound,
               [&](uint32_t i) { benchmark::DoNotOptimize(bed.Compress(bed.PageOf(pages[i]))); });
    state.SetIterationTime(puts.Time(kRound, InGroups<group>(pages, [&](auto those) {
                                       bed.filled.PutAll(
                                           those, [&](uint32_t page) { return bed.PageOf(page); });
                                     })));
  }
  Report(state, puts, codec);
}

template <uint32_t group>
void Lz4Get(State& state, Lz4Bed& bed) {
  Rounds gets;
  Rounds codec;
  std::array<uint32_t, kRound> pages;
  for (auto _ : state) {
    for (uint32_t& page : pages) page = bed.AnyCompressed();
    codec.Time(kRound, [&](uint32_t i) { bed.Decompress(pages[i]); });
    for (uint32_t& page : pages) page = bed.AnyCompressed();  // not what is in the cache by now
    state.SetIterationTime(gets.Time(kRound, InGroups<group>(pages, [&](auto those) {
                                       GetEach(bed.filled, those, [&](uint32_t page) {
                                         bed.filled.Get(page, bed.out);
                                       });
                                     })));
  }
  Report(state, gets, codec);
  const auto overhead = bed.filled.OverheadAPage();
  state.counters["payload"] = overhead.payload;
  state.counters["beside"] = overhead.beside();
}

// ---- compressing later ----

// Two stores of the same pages: one does not compress, one does later.
struct AutoBed {
  explicit AutoBed(const PageCorpus& pages)
      : corpus(pages),
        plain(kPages, kPersistent, CompressMode::kOff),
        later(kPages, kPersistent, CompressMode::kAuto) {
    for (uint32_t i = 0; i < kPages; ++i) {
      plain.Put(i, PageOf(i));
      later.Put(i, PageOf(i));
      if (i % kRound == 0) later.CompressWhatWaits();
    }
    later.CompressWhatWaits();
  }

  uint32_t AnyPage() { return random.Below(kPages); }
  PageView PageOf(uint32_t index) const { return corpus.page(index % corpus.size()); }

  static constexpr uint32_t kPages = kOneGiB / 2;
  static_assert(kRound <= Backlog::kMost);
  FastRandom random{1};
  const PageCorpus& corpus;
  FilledStore plain;
  FilledStore later;
};

void AutoPut(State& state, AutoBed& bed) {
  Rounds puts;
  Rounds plain_puts;
  std::array<uint32_t, kRound> pages;
  for (auto _ : state) {
    for (uint32_t& page : pages) page = bed.AnyPage();
    const auto put_into = [&](FilledStore& store) {
      return InGroups<kTogether>(pages, [&](auto those) {
        store.PutAll(those, [&](uint32_t page) { return bed.PageOf(page); });
      });
    };
    plain_puts.Time(kRound, put_into(bed.plain));
    state.SetIterationTime(puts.Time(kRound, put_into(bed.later)));
    bed.later.CompressWhatWaits();
  }
  Report(state, puts, plain_puts);
}

// ---- two guests on two threads ----

// Has a second thread do at the same time what the first one does.
class TwoThreads {
 public:
  using Work = std::function<void(uint16_t thread, FastRandom& random)>;

  TwoThreads() : second_([this] { Second(); }) {}
  ~TwoThreads() {
    work_ = nullptr;
    turn_.arrive_and_wait();
    second_.join();
  }
  TwoThreads(const TwoThreads&) = delete;
  TwoThreads& operator=(const TwoThreads&) = delete;

  void OneDoes(const Work& work) { work(0, random_); }
  void BothDo(const Work& work) {
    work_ = &work;
    turn_.arrive_and_wait();
    work(0, random_);
    turn_.arrive_and_wait();
  }

 private:
  void Second() {
    FastRandom random(2);
    for (;;) {
      turn_.arrive_and_wait();
      if (work_ == nullptr) return;
      (*work_)(1, random);
      turn_.arrive_and_wait();
    }
  }

  FastRandom random_{1};
  std::barrier<> turn_{2};
  const Work* work_ = nullptr;  // written and read on different sides of the barrier
  std::thread second_;
};

// Rounds of one thread alone and of two at once: ns a put, of which two get `speedup` times as many
// done; `copy_speedup` is the same of copies of random pages, which share nothing but the machine.
void TwoGuests(State& state) {
  constexpr uint32_t kPages = kOneGiB / 4;
  constexpr uint32_t kLongRound = 4 * kRound;  // waking a thread takes its time
  FilledStore filled(kPages, kPersistent, CompressMode::kOff, 2);
  PageBuffer source(kPages);
  PageBuffer target(kPages);
  for (uint32_t page = 0; page < kPages; ++page) {
    for (const uint16_t guest : {uint16_t{0}, uint16_t{1}}) {
      filled.Put(page, source.page(page), guest);
    }
  }
  const TwoThreads::Work puts = [&](uint16_t guest, FastRandom& random) {
    std::array<uint32_t, kTogether> group;
    for (uint32_t i = 0; i < kLongRound; i += kTogether) {
      for (uint32_t& page : group) page = random.Below(kPages);
      filled.PutAll(
          group, [&](uint32_t) { return PageView(source.page(random.Below(kPages))); }, guest);
    }
  };
  const TwoThreads::Work copies = [&](uint16_t, FastRandom& random) {
    for (uint32_t i = 0; i < kLongRound; ++i) {
      std::copy_n(source.page(random.Below(kPages)).data(), kPageSize,
                  target.page(random.Below(kPages)).data());
    }
  };

  TwoThreads threads;
  Rounds alone;
  Rounds together;
  Rounds copies_alone;
  Rounds copies_together;
  for (auto _ : state) {
    copies_alone.TimeOnce([&] { threads.OneDoes(copies); });
    copies_together.TimeOnce([&] { threads.BothDo(copies); });
    alone.TimeOnce([&] { threads.OneDoes(puts); });
    state.SetIterationTime(together.TimeOnce([&] { threads.BothDo(puts); }) / (2 * kLongRound));
  }
  state.counters["ns"] = together.MedianNs() / (2 * kLongRound);
  state.counters["yardstick_ns"] = alone.MedianNs() / kLongRound;
  state.counters["speedup"] = 2 * alone.MedianNs() / together.MedianNs();
  state.counters["copy_ns"] = copies_together.MedianNs() / (2 * kLongRound);
  state.counters["copy_yardstick_ns"] = copies_alone.MedianNs() / kLongRound;
  state.counters["copy_speedup"] = 2 * copies_alone.MedianNs() / copies_together.MedianNs();
}

// ---- the list ----

// What a benchmark runs on takes seconds to fill, and two of them may not fit into memory: it is
// made when first used, and freed when another one is.
class Beds {
 public:
  template <class Bed>
  Bed& Use(const std::string& name, const std::function<std::unique_ptr<Bed>()>& make) {
    if (name != name_) {
      bed_.reset();
      bed_ = make();
      name_ = name;
    }
    return *static_cast<Bed*>(bed_.get());
  }

 private:
  std::string name_;
  std::shared_ptr<void> bed_;
};

template <class Bed>
void Register(Beds& beds, const std::string& bed_name,
              const std::function<std::unique_ptr<Bed>()>& make, const std::string& name,
              void (*function)(State&, Bed&), int rounds = kRounds) {
  benchmark::RegisterBenchmark((bed_name + "/" + name).c_str(),
                               [&beds, bed_name, make, function](State& state) {
                                 function(state, beds.Use<Bed>(bed_name, make));
                               })
      ->UseManualTime()
      ->Iterations(rounds);
}

void RegisterRaw(Beds& beds, const std::string& size, uint32_t pages, uint32_t buffer_pages) {
  using enum Measured;
  const auto registers = [&](const std::string& name, PageClass page_class) {
    const std::function<std::unique_ptr<RawBed>()> make = [=] {
      return std::make_unique<RawBed>(pages, page_class, buffer_pages);
    };
    return [&beds, bed = "raw:" + size + "/" + name, make](
               const char* operation, void (*function)(State&, RawBed&), int rounds = kRounds) {
      Register<RawBed>(beds, bed, make, operation, function, rounds);
    };
  };
  const auto swap = registers("persistent", kPersistent);
  swap("put", InTurnWithCopies<kTogether, Put>);
  swap("get", InTurnWithCopies<kTogether, Get>);
  swap("put_alone", InTurnWithCopies<kAlone, Put>);
  swap("get_alone", InTurnWithCopies<kAlone, Get>);
  swap("put_cold", InTurnWithCopies<kTogether, PutCold>);
  swap("get_cold", InTurnWithCopies<kTogether, GetCold>);
  swap("put_new", TakeAndPutBack<kPutBack, kTogether, FlushPage>);
  swap("flush_page", TakeAndPutBack<kTake, kTogether, FlushPage>);
  swap("flush_page_alone", TakeAndPutBack<kTake, kAlone, FlushPage>);
  swap("flush_page_in_order", FlushPageInOrder);
  swap("flush_object_of_1024", FlushObject);
  swap("bytes_a_page", Overhead, 1);
  const auto cache = registers("ephemeral", kEphemeral);
  cache("put", InTurnWithCopies<kTogether, Put>);
  cache("put_new", TakeAndPutBack<kPutBack, kTogether, Get>);
  cache("exclusive_get", TakeAndPutBack<kTake, kTogether, Get>);
  cache("exclusive_get_alone", TakeAndPutBack<kTake, kAlone, Get>);
}

void RegisterAll(Beds& beds, const std::vector<PageCorpus>& corpora) {
  RegisterRaw(beds, "1GiB", kOneGiB, kOneGiB);
  // Smaller buffers here, or it would take 24 GiB; they are far larger than any cache, too.
  if (AvailableMemory() >= GiB(14)) RegisterRaw(beds, "2M", kTwoMillion, kTwoMillion / 4);
  for (const PageCorpus& corpus : corpora) {
    const std::function<std::unique_ptr<Lz4Bed>()> make = [&corpus] {
      return std::make_unique<Lz4Bed>(corpus);
    };
    Register<Lz4Bed>(beds, "lz4:" + corpus.name, make, "put", Lz4Put<kTogether>);
    Register<Lz4Bed>(beds, "lz4:" + corpus.name, make, "get", Lz4Get<kTogether>);
    Register<Lz4Bed>(beds, "lz4:" + corpus.name, make, "put_alone", Lz4Put<kAlone>);
    Register<Lz4Bed>(beds, "lz4:" + corpus.name, make, "get_alone", Lz4Get<kAlone>);
    const std::function<std::unique_ptr<AutoBed>()> make_auto = [&corpus] {
      return std::make_unique<AutoBed>(corpus);
    };
    Register<AutoBed>(beds, "auto:" + corpus.name, make_auto, "put", AutoPut);
  }
  benchmark::RegisterBenchmark("two_guests/put", TwoGuests)->UseManualTime()->Iterations(kRounds);
}

}  // namespace
}  // namespace tmem

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const auto corpora = tmem::LoadCorpora(8192);
  if (!corpora) {
    std::fprintf(stderr, "bench_store: %s\n", corpora.error().message.c_str());
    return 1;
  }
  tmem::Beds beds;
  tmem::RegisterAll(beds, *corpora);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
