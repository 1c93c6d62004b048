#include "run/residency.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <vector>

#include "run/engine.h"

namespace tmem::run {
namespace {

constexpr uint32_t kLimit = Residency::Config::kMinLimitPages;
constexpr uint32_t kPages = 4 * kLimit;

// The state of every page is what the table says it is.
void CheckInvariants(const Engine& engine) {
  uint64_t resident = 0;
  uint64_t touched = 0;
  for (uint32_t page = 0; page < engine.table.size(); ++page) {
    const PageEntry& entry = engine.table[page];
    ASSERT_EQ(entry.resident(), engine.space.IsPresent(page)) << "page " << page;
    ASSERT_EQ(entry.state == PageState::kClean, engine.space.IsProtected(page)) << "page " << page;
    if (entry.state == PageState::kEvicted || entry.state == PageState::kClean) {
      ASSERT_NE(entry.kind, CopyKind::kNone) << "page " << page;
    }
    if (entry.state == PageState::kEmpty) {
      ASSERT_EQ(entry.kind, CopyKind::kNone) << "page " << page;
    }
    resident += entry.resident() ? 1 : 0;
    touched += entry.state != PageState::kEmpty ? 1 : 0;
  }
  ASSERT_EQ(resident, engine.counters.resident);
  ASSERT_EQ(touched, engine.counters.touched);
}

void Write(Engine& engine, uint32_t first, uint32_t end) {
  for (uint32_t page = first; page < end; ++page) engine.space.Write(page, page + 1);
}

TEST(Residency, GivesZerosWithoutInput) {
  Engine engine({.limit_pages = kLimit}, kPages, Spill::kNone);
  EXPECT_EQ(engine.space.Read(5), 0u);
  EXPECT_EQ(engine.counters.gets, 0u);
  EXPECT_EQ(engine.counters.zero_filled, 1u);
}

TEST(Residency, KeepsTheLimitAndEveryPage) {
  Engine engine({.limit_pages = kLimit}, kPages, Spill::kNone);
  Write(engine, 0, kPages);
  EXPECT_LE(engine.space.present(), kLimit);
  EXPECT_GE(FakeTmem::pages(), kPages - kLimit);
  for (uint32_t page = 0; page < kPages; ++page) ASSERT_EQ(engine.space.Read(page), page + 1);
  EXPECT_LE(engine.counters.resident_peak, kLimit);
  CheckInvariants(engine);
}

TEST(Residency, EvictsUnchangedPagesForFree) {
  Engine engine({.limit_pages = kLimit}, kPages, Spill::kNone);
  Write(engine, 0, kPages);
  for (uint32_t page = 0; page < kPages; ++page) engine.space.Read(page);
  const uint64_t puts = engine.counters.puts;
  for (int round = 0; round < 3; ++round) {
    for (uint32_t page = 0; page < kPages; ++page) engine.space.Read(page);
  }
  EXPECT_EQ(engine.counters.puts, puts);
  EXPECT_GT(engine.counters.evicted_clean, kPages);
}

TEST(Residency, StoresAPageAgainOnceItIsWritten) {
  Engine engine({.limit_pages = kLimit}, kPages, Spill::kNone);
  Write(engine, 0, kPages);
  ASSERT_EQ(engine.space.Read(0), 1u);
  engine.space.Write(0, 77);
  EXPECT_EQ(engine.counters.write_faults, 1u);
  Write(engine, kLimit, kPages);
  Write(engine, kLimit, kPages);
  ASSERT_FALSE(engine.space.IsPresent(0));
  EXPECT_EQ(engine.space.Read(0), 77u);
}

TEST(Residency, ExpectsAPageThatWasWrittenToBeWrittenAgain) {
  Engine engine({.limit_pages = kLimit}, kPages, Spill::kNone);
  Write(engine, 0, kPages);
  const auto read_and_write_all = [&] {
    for (uint32_t page = 0; page < kPages; ++page) {
      engine.space.Read(page);
      engine.space.Write(page, page + 1);
    }
  };
  read_and_write_all();
  const uint64_t first = engine.counters.write_faults;
  EXPECT_GT(first, kPages / 2) << "each page comes back protected, to see whether it is written";
  read_and_write_all();
  EXPECT_LT(engine.counters.write_faults - first, kPages / 4);
  // Read only, pages show by and by that they are not written any more.
  for (int round = 0; round < 40; ++round) {
    for (uint32_t page = 0; page < kPages; ++page) ASSERT_EQ(engine.space.Read(page), page + 1);
  }
  const uint64_t puts = engine.counters.puts;
  for (uint32_t page = 0; page < kPages; ++page) ASSERT_EQ(engine.space.Read(page), page + 1);
  EXPECT_LT(engine.counters.puts - puts, kPages / 8);
  CheckInvariants(engine);
}

TEST(Residency, StoresNoZeros) {
  Engine engine({.limit_pages = kLimit}, kPages, Spill::kNone);
  for (uint32_t page = 0; page < kPages; ++page) engine.space.Write(page, 0);
  EXPECT_EQ(engine.counters.puts, 0u);
  EXPECT_EQ(engine.counters.evicted_zero, engine.counters.evicted);
  for (uint32_t page = 0; page < kPages; ++page) ASSERT_EQ(engine.space.Read(page), 0u);
}

TEST(Residency, ReadsAheadAlongAStream) {
  Engine engine({.limit_pages = kLimit, .read_ahead_pages = 16}, kPages, Spill::kNone);
  Write(engine, 0, kPages);
  const uint64_t faults = engine.counters.faults;
  for (uint32_t page = 0; page < kPages; ++page) ASSERT_EQ(engine.space.Read(page), page + 1);
  EXPECT_LT(engine.counters.faults - faults, kPages / 4);
  EXPECT_GT(engine.counters.read_ahead, kPages / 2);
  CheckInvariants(engine);
}

TEST(Residency, KeepsAWorkingSetThroughAScan) {
  Engine engine({.limit_pages = kLimit}, kPages, Spill::kNone);
  Write(engine, 0, kPages);
  // A hot eighth of memory, used between every few pages of a scan.
  constexpr uint32_t kHot = kLimit / 8;
  const auto scan = [&] {
    uint64_t hot_faults = 0;
    for (uint32_t page = kHot; page < kPages; ++page) {
      engine.space.Read(page);
      if (page % 8 != 0) continue;
      const uint64_t before = engine.counters.faults;
      engine.space.Read(page / 8 % kHot);
      hot_faults += engine.counters.faults - before;
    }
    return hot_faults;
  };
  scan();
  // First in, first out would lose each hot page once a cycle of memory.
  EXPECT_LT(scan(), (kPages / kLimit) * kHot);
}

TEST(Residency, KeepsRefusedPagesInMemoryWithoutASpillFile) {
  Engine engine({.limit_pages = kLimit}, kPages, Spill::kNone);
  FakeTmem::RefusePuts(1);
  Write(engine, 0, kPages);
  EXPECT_EQ(engine.space.present(), kPages);
  EXPECT_GT(engine.counters.kept, 0u);
  EXPECT_LT(engine.counters.puts_refused, uint64_t{kPages} * 4) << "does not ask at every fault";
  FakeTmem::RefusePuts(0);
  for (int round = 0; round < 2000 && engine.space.present() > kLimit; ++round) {
    engine.residency.Discard({0, 1});
    engine.space.Write(0, 1);
  }
  EXPECT_LE(engine.space.present(), kLimit) << "comes back under the limit when it can";
  for (uint32_t page = 0; page < kPages; ++page) ASSERT_EQ(engine.space.Read(page), page + 1);
  CheckInvariants(engine);
}

TEST(Residency, SpillsRefusedPages) {
  Engine engine({.limit_pages = kLimit}, kPages, Spill::kFile);
  FakeTmem::RefusePuts(0.5);
  Write(engine, 0, kPages);
  EXPECT_LE(engine.space.present(), kLimit);
  EXPECT_GT(engine.counters.spilled, kLimit);
  for (uint32_t page = 0; page < kPages; ++page) ASSERT_EQ(engine.space.Read(page), page + 1);
  EXPECT_GT(engine.counters.spill_reads, kLimit);
  CheckInvariants(engine);
}

TEST(Residency, ForgetsDiscardedContent) {
  Engine engine({.limit_pages = kLimit}, kPages, Spill::kNone);
  Write(engine, 0, kPages);
  engine.residency.Discard({0, kPages});
  EXPECT_EQ(FakeTmem::pages(), 0u);
  EXPECT_EQ(engine.counters.resident, 0u);
  EXPECT_EQ(engine.counters.discarded, kPages);
  for (uint32_t page = 0; page < kPages; ++page) ASSERT_EQ(engine.space.Read(page), 0u);
  CheckInvariants(engine);
}

TEST(Residency, DiscardsBeyondWhatWasTouched) {
  Engine engine({.limit_pages = kLimit}, kPages, Spill::kNone);
  engine.space.Write(3, 9);
  engine.residency.Discard({3, kPages - 3});
  engine.residency.Discard({kPages / 2, 10});
  EXPECT_EQ(engine.space.Read(3), 0u);
}

TEST(Residency, NeverEvictsPinnedPages) {
  Engine engine({.limit_pages = kLimit}, kPages, Spill::kNone);
  Write(engine, 0, 20);
  engine.residency.SetPinned({5, 10}, true);
  Write(engine, 20, kPages);
  Write(engine, 20, kPages);
  for (uint32_t page = 5; page < 15; ++page) EXPECT_TRUE(engine.space.IsPresent(page));
  EXPECT_FALSE(engine.space.IsPresent(4));
  engine.residency.SetPinned({5, 10}, false);
  Write(engine, 20, kPages);
  EXPECT_FALSE(engine.space.IsPresent(5));
  EXPECT_EQ(engine.space.Read(5), 6u);
}

TEST(Residency, LeavesLockedMemoryInPlace) {
  Engine engine({.limit_pages = kLimit}, kPages, Spill::kNone);
  Write(engine, 0, 3);
  engine.space.Lock(1);
  Write(engine, 3, kPages);
  EXPECT_TRUE(engine.space.IsPresent(1));
  engine.space.Write(1, 55);
  Write(engine, 3, kPages);
  EXPECT_EQ(engine.space.Read(1), 55u);
}

TEST(Residency, StopsTheProgramRatherThanGiveItWrongContent) {
  Engine engine({.limit_pages = kLimit}, kPages, Spill::kNone);
  Write(engine, 0, kPages);
  FakeTmem::LosePages();
  EXPECT_THROW(engine.space.Read(0), Engine::Stopped);
}

TEST(Residency, LetsGoWhoFaultsOnAPageThatIsThere) {
  Engine engine({.limit_pages = kLimit}, kPages, Spill::kNone);
  engine.space.Write(0, 1);
  engine.residency.OnMissing(0, true);
  engine.residency.OnWriteProtected(0);
  EXPECT_EQ(engine.space.Read(0), 1u);
  EXPECT_EQ(engine.counters.faults, 1u);
}

TEST(Residency, TakesAWriteToAPageEvictedMeanwhileAsAFault) {
  Engine engine({.limit_pages = kLimit}, kPages, Spill::kNone);
  Write(engine, 0, kPages);
  ASSERT_FALSE(engine.space.IsPresent(0));
  engine.residency.OnWriteProtected(0);
  EXPECT_TRUE(engine.space.IsPresent(0));
  EXPECT_FALSE(engine.space.IsProtected(0));
  EXPECT_EQ(engine.space.Read(0), 1u);
}

// One step of a program, or of the world around it.
struct Step {
  enum class Kind { kRead, kWrite, kScan, kDiscard, kPin, kUnpin, kRefuse, kFork, kChildrenGone };
  Kind kind;
  uint32_t page;
  uint32_t value;
};

rc::Gen<Step> GenStep() {
  using Kind = Step::Kind;
  return rc::gen::build<Step>(
      rc::gen::set(&Step::kind, rc::gen::weightedElement<Kind>({{10, Kind::kRead},
                                                                {14, Kind::kWrite},
                                                                {3, Kind::kScan},
                                                                {2, Kind::kDiscard},
                                                                {1, Kind::kPin},
                                                                {1, Kind::kUnpin},
                                                                {1, Kind::kRefuse},
                                                                {1, Kind::kFork},
                                                                {1, Kind::kChildrenGone}})),
      rc::gen::set(&Step::page, rc::gen::inRange(0u, kPages)),
      rc::gen::set(&Step::value, rc::gen::inRange(0u, 1000u)));
}

// The program beside a plain array, and what a forked child would read beside a copy of it.
class Model {
 public:
  Model(uint32_t read_ahead, Spill spill)
      : engine_({.limit_pages = kLimit, .read_ahead_pages = read_ahead}, kPages, spill),
        expected_(kPages) {}

  void Do(const Step& step) {
    const uint32_t count = std::min(1 + step.value % 200, kPages - step.page);
    switch (step.kind) {
      case Step::Kind::kRead:
        RC_ASSERT(engine_.space.Read(step.page) == expected_[step.page]);
        break;
      case Step::Kind::kWrite:
        Set(step.page, step.value);
        break;
      case Step::Kind::kScan:
        for (uint32_t page = step.page; page < step.page + count; ++page) {
          if (step.value % 2 == 0) Set(page, step.value + page);
          RC_ASSERT(engine_.space.Read(page) == expected_[page]);
        }
        break;
      case Step::Kind::kDiscard:
        engine_.residency.Discard({step.page, count});
        std::fill_n(expected_.begin() + step.page, count, 0);
        break;
      case Step::Kind::kPin:
      case Step::Kind::kUnpin:
        engine_.residency.SetPinned({step.page, std::min(count, 10u)},
                                    step.kind == Step::Kind::kPin);
        break;
      case Step::Kind::kRefuse:
        FakeTmem::RefusePuts(step.value % 3 / 2.0);
        break;
      case Step::Kind::kFork:
        Fork();
        break;
      case Step::Kind::kChildrenGone:
        children_.clear();
        engine_.backing.Thaw();
        break;
    }
  }

  void CheckAll() {
    CheckInvariants(engine_);
    for (const Child& child : children_) CheckChild(child);
    for (uint32_t page = 0; page < kPages; ++page) {
      RC_ASSERT(engine_.space.Read(page) == expected_[page]);
    }
  }

 private:
  struct Child {
    std::vector<PageEntry> view;
    std::vector<uint64_t> expected;
  };

  void Set(uint32_t page, uint64_t value) {
    engine_.space.Write(page, value);
    expected_[page] = value;
  }

  void Fork() {
    engine_.backing.Freeze();
    const auto used = engine_.table.used();
    children_.push_back({{used.begin(), used.end()}, expected_});
  }

  // What was in memory at the fork the kernel gave to the child; the rest comes from the copies.
  void CheckChild(const Child& child) {
    for (uint32_t page = 0; page < child.view.size(); ++page) {
      if (child.view[page].state != PageState::kEvicted) continue;
      std::vector<std::byte> content(kPageSize);
      const Copy copy = child.view[page].copy();
      RC_ASSERT(engine_.backing.Load({page, 1}, {&copy, 1}, content.data()) == 1u);
      uint64_t value = 0;
      std::memcpy(&value, content.data(), sizeof value);
      RC_ASSERT(value == child.expected[page]);
    }
  }

  Engine engine_;
  std::vector<uint64_t> expected_;
  std::vector<Child> children_;
};

RC_GTEST_PROP(Residency, BehavesLikeMemory, ()) {
  Model model(*rc::gen::element(1u, 4u, 64u), *rc::gen::element(Spill::kNone, Spill::kFile));
  const auto steps =
      *rc::gen::container<std::vector<Step>>(*rc::gen::inRange<size_t>(100, 2000), GenStep());
  for (const Step& step : steps) model.Do(step);
  model.CheckAll();
}

}  // namespace
}  // namespace tmem::run
