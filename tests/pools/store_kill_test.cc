// Processes that are killed in the middle of an operation on a store, after any instruction.
//
// A child opens the store and prepares it; then it executes one operation, instruction by
// instruction (ptrace), and is killed after n of them. What the next store finds must be the state
// before the operation or the one after it, and everything else as it was.
//
// TMEM_KILL_STRIDE=1 tries every n, 2 every other one, and so on; without it, a few random ones are
// tried, because a single step costs some 10 us.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "pools/store_fixture.h"
#include "pools/tmpfs_folder.h"

namespace tmem {
namespace {

using enum PageClass;

constexpr uint16_t kGuest = 4;
constexpr PoolId kSwap{0};   // persistent
constexpr PoolId kCache{1};  // ephemeral
constexpr uint32_t kBystanders = 40;

// After how many instructions to kill an operation that has so many.
std::vector<uint64_t> PointsIn(uint64_t instructions) {
  std::vector<uint64_t> points;
  if (const char* const text = std::getenv("TMEM_KILL_STRIDE")) {
    const uint64_t stride = std::max<uint64_t>(1, std::strtoull(text, nullptr, 10));
    for (uint64_t n = 1; n <= instructions; n += stride) points.push_back(n);
    return points;
  }
  constexpr uint64_t kStepsAtMost = 30'000;
  std::mt19937_64 random(std::random_device{}());
  const uint64_t count = std::clamp<uint64_t>(kStepsAtMost / instructions, 3, 16);
  for (uint64_t i = 0; i < count; ++i) points.push_back(1 + random() % instructions);
  return points;
}

// A store with one guest, as a process has it.
struct Bed {
  explicit Bed(const std::string& path) {
    for (uint64_t seed = 0; seed < kSeeds; ++seed) {
      pages[seed] = MakePage(seed == kText ? PageLook::kText : PageLook::kRandom, seed);
    }
    store = *Store::Create({.path = path, .capacity = MiB(16)});
    for (;;) {
      auto taken = store->AddGuest({.id = GuestId{kGuest}, .uuid = UuidOf(kGuest)}, RawSettings());
      if (taken) {
        guest = *taken;
        return;
      }
      std::this_thread::yield();
    }
  }
  ~Bed() { guest.reset(); }

  static Handle HandleOf(PoolId pool, uint64_t object, uint32_t index) {
    return {.pool = pool, .object = MakeObjectId(object), .index = PageIndex{index}};
  }
  bool Put(PoolId pool, uint64_t object, uint32_t index, size_t seed) {
    return store->Put(*guest, HandleOf(pool, object, index), pages[seed], codec) ==
           PutStatus::kStored;
  }
  // The seed of the page that is there; -1 if there is none, -2 for a page that nobody put.
  int Get(PoolId pool, uint64_t object, uint32_t index) {
    Page page;
    if (store->Get(*guest, HandleOf(pool, object, index), page, codec) != GetStatus::kHit)
      return -1;
    const auto at = std::ranges::find(pages, page);
    return at == pages.end() ? -2 : static_cast<int>(at - pages.begin());
  }

  static constexpr size_t kSeeds = 10;
  static constexpr size_t kText = 9;  // the one that compresses
  std::array<Page, kSeeds> pages;     // made beforehand: the operation is to be the store's own

  PageCodec codec{PageCodec::Config{}};
  std::unique_ptr<Store> store;
  std::shared_ptr<Guest> guest;
};

struct Operation {
  const char* name;
  std::function<void(Bed&)> prepare;
  std::function<void(Bed&)> execute;
  // Is it the state before, or the one after (true: the operation had ended)?
  std::function<void(Bed&, bool ended)> check;
};

void PutBystanders(Bed& bed) {
  (void)bed.store->NewPool(*bed.guest, {.page_class = kPersistent});
  (void)bed.store->NewPool(*bed.guest, {.page_class = kEphemeral});
  for (uint32_t i = 0; i < kBystanders; ++i) {
    bed.Put(kSwap, 100 + i % 3, i, i % 10);
    bed.Put(kCache, 100 + i % 3, i, i % 10);
  }
}

void CheckBystanders(Bed& bed) {
  for (uint32_t i = 0; i < kBystanders; ++i) {
    ASSERT_EQ(bed.Get(kSwap, 100 + i % 3, i), static_cast<int>(i % 10));
    ASSERT_EQ(bed.Get(kCache, 100 + i % 3, i), static_cast<int>(i % 10));
  }
}

// Every page of the guest is charged, and nobody else's is; all goes when the guest does.
void CheckFigures(Bed& bed) {
  const GuestStats stats = *bed.store->StatsOf(GuestId{kGuest});
  uint64_t charged = 0;
  for (const StoredCounters& stored : stats.stored) charged += stored.charged_bytes;
  ASSERT_EQ(stats.charged, Bytes(charged));
  ASSERT_TRUE(bed.Put(kSwap, 999, 1, 3));
  ASSERT_EQ(bed.Get(kSwap, 999, 1), 3);
  bed.guest.reset();
  bed.store->RemoveGuest(GuestId{kGuest});
  for (const Bytes bytes : bed.store->Stats().segments) ASSERT_EQ(bytes, Bytes(0));
}

struct Execution {
  bool ended;  // before it was killed
  uint64_t instructions;
};

// Forks a child that executes the operation, and kills it after that many instructions of it.
Execution ExecuteAndKill(const Operation& operation, const std::string& path,
                         uint64_t instructions) {
  auto* const ended = static_cast<std::atomic<bool>*>(mmap(nullptr, sizeof(std::atomic<bool>),
                                                           PROT_READ | PROT_WRITE,
                                                           MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const pid_t child = fork();
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    Bed bed(path);
    PutBystanders(bed);
    operation.prepare(bed);
    raise(SIGSTOP);
    operation.execute(bed);
    ended->store(true);
    raise(SIGSTOP);
    _exit(1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSTOPPED(status)) << "the child could not prepare, status " << status;
  uint64_t done = 0;
  for (; done < instructions && WIFSTOPPED(status) && !ended->load(); ++done) {
    ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr);
    waitpid(child, &status, 0);
  }
  const Execution execution{.ended = ended->load(), .instructions = done};
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  munmap(ended, sizeof(std::atomic<bool>));
  return execution;
}

class StoreKillTest : public testing::TestWithParam<Operation> {};

// Returns how many instructions were executed.
uint64_t KillAndCheck(const Operation& operation, uint64_t instructions) {
  const TmpfsFolder folder;
  const Execution execution = ExecuteAndKill(operation, folder.store(), instructions);
  Bed bed(folder.store());
  operation.check(bed, execution.ended);
  CheckBystanders(bed);
  CheckFigures(bed);
  return execution.instructions;
}

TEST_P(StoreKillTest, AfterAnyInstruction) {
  const uint64_t length = KillAndCheck(GetParam(), UINT64_MAX);
  const std::vector<uint64_t> points = PointsIn(length);
  for (const uint64_t instructions : points) {
    KillAndCheck(GetParam(), instructions);
    ASSERT_FALSE(HasFailure()) << "killed after " << instructions << " of " << length;
  }
  std::printf("%zu kills in %llu instructions\n", points.size(),
              static_cast<unsigned long long>(length));
}

constexpr uint32_t kMoved = 10;

void Flush(Bed& bed, uint32_t index) {
  bed.store->FlushPage(*bed.guest, Bed::HandleOf(kSwap, 50, index));
}

const Operation kOperations[] = {
    {"PutOfANewObject", [](Bed&) {}, [](Bed& bed) { bed.Put(kSwap, 1, 5, 1); },
     [](Bed& bed, bool ended) {
       const int found = bed.Get(kSwap, 1, 5);
       ASSERT_TRUE(found == 1 || (found == -1 && !ended)) << found;
     }},
    {"PutIntoAnObject", [](Bed& bed) { bed.Put(kSwap, 1, 4, 2); },
     [](Bed& bed) { bed.Put(kSwap, 1, 5, 1); },
     [](Bed& bed, bool ended) {
       const int found = bed.Get(kSwap, 1, 5);
       ASSERT_TRUE(found == 1 || (found == -1 && !ended)) << found;
       ASSERT_EQ(bed.Get(kSwap, 1, 4), 2);
     }},
    {"ReplacingPut", [](Bed& bed) { bed.Put(kSwap, 1, 5, 2); },
     [](Bed& bed) { bed.Put(kSwap, 1, 5, 1); },
     [](Bed& bed, bool ended) {
       const int found = bed.Get(kSwap, 1, 5);
       ASSERT_TRUE(found == 1 || (found == 2 && !ended)) << found;
     }},
    {"ReplacingEphemeralPut", [](Bed& bed) { bed.Put(kCache, 1, 5, 2); },
     [](Bed& bed) { bed.Put(kCache, 1, 5, 1); },
     [](Bed& bed, bool ended) {
       const int found = bed.Get(kCache, 1, 5);
       ASSERT_TRUE(found == 1 || (found == 2 && !ended)) << found;
     }},
    {"PutsTogether", [](Bed& bed) { bed.Put(kSwap, 1, 0, 2); },
     [](Bed& bed) {
       Store::Puts puts(*bed.store, *bed.guest, bed.codec);
       puts.Add(Bed::HandleOf(kSwap, 1, 0), bed.pages[1]);
       puts.Add(Bed::HandleOf(kSwap, 1, 1), bed.pages[3]);
       puts.Add(Bed::HandleOf(kSwap, 1, 0), bed.pages[4]);
       puts.Add(Bed::HandleOf(kSwap, 2, 7), bed.pages[5]);
       puts.Enter();
     },
     [](Bed& bed, bool ended) {
       // They take effect in their order.
       using Found = std::array<int, 3>;
       const std::array<Found, 5> states = {Found{2, -1, -1}, Found{1, -1, -1}, Found{1, 3, -1},
                                            Found{4, 3, -1}, Found{4, 3, 5}};
       const Found found = {bed.Get(kSwap, 1, 0), bed.Get(kSwap, 1, 1), bed.Get(kSwap, 2, 7)};
       const auto state = std::ranges::find(states, found);
       ASSERT_NE(state, states.end()) << testing::PrintToString(found);
       ASSERT_TRUE(!ended || found == states.back()) << testing::PrintToString(found);
     }},
    {"PutIntoANewSegment",
     [](Bed& bed) {
       for (uint32_t i = kBystanders; i < RawPages(1); ++i) bed.Put(kSwap, 50, i, 0);
       EXPECT_EQ(bed.store->Stats().segments[1], Segments(1));
     },
     [](Bed& bed) { bed.Put(kSwap, 1, 5, 1); },
     [](Bed& bed, bool ended) {
       const int found = bed.Get(kSwap, 1, 5);
       ASSERT_TRUE(found == 1 || (found == -1 && !ended)) << found;
     }},
    {"CompressingLater",
     [](Bed& bed) {
       GuestSettings settings;
       for (auto& mode : settings.compress) mode = CompressMode::kAuto;
       (void)bed.store->Configure(GuestId{kGuest}, settings);
       bed.Put(kSwap, 1, 5, Bed::kText);
       bed.Put(kSwap, 1, 6, Bed::kText);
     },
     [](Bed& bed) { bed.store->Recompress(TimePoint(), bed.codec); },
     [](Bed& bed, bool) {
       ASSERT_EQ(bed.Get(kSwap, 1, 5), static_cast<int>(Bed::kText));
       ASSERT_EQ(bed.Get(kSwap, 1, 6), static_cast<int>(Bed::kText));
     }},
    {"FlushPage",
     [](Bed& bed) {
       bed.Put(kSwap, 1, 4, 2);
       bed.Put(kSwap, 1, 5, 1);
     },
     [](Bed& bed) { bed.store->FlushPage(*bed.guest, Bed::HandleOf(kSwap, 1, 5)); },
     [](Bed& bed, bool ended) {
       const int found = bed.Get(kSwap, 1, 5);
       ASSERT_TRUE(found == -1 || (found == 1 && !ended)) << found;
       ASSERT_EQ(bed.Get(kSwap, 1, 4), 2);
     }},
    {"FlushPages",
     [](Bed& bed) {
       for (uint32_t i = 0; i < 4; ++i) bed.Put(kSwap, 1 + i / 3, i, i);
     },
     [](Bed& bed) {
       const std::array handles = {Bed::HandleOf(kSwap, 1, 0), Bed::HandleOf(kSwap, 2, 3),
                                   Bed::HandleOf(kSwap, 1, 2)};
       std::array<FlushStatus, 3> statuses;
       bed.store->FlushPages(*bed.guest, handles, statuses);
     },
     [](Bed& bed, bool ended) {
       for (const uint32_t i : {0u, 2u, 3u}) {
         const int found = bed.Get(kSwap, 1 + i / 3, i);
         ASSERT_TRUE(found == -1 || (found == static_cast<int>(i) && !ended)) << found;
       }
       ASSERT_EQ(bed.Get(kSwap, 1, 1), 1);
     }},
    {"FlushOfAReplacedPage",
     [](Bed& bed) {
       for (const size_t seed : {2, 3, 4}) bed.Put(kSwap, 1, 5, seed);
     },
     [](Bed& bed) { bed.store->FlushPage(*bed.guest, Bed::HandleOf(kSwap, 1, 5)); },
     [](Bed& bed, bool ended) {
       const int found = bed.Get(kSwap, 1, 5);
       ASSERT_TRUE(found == -1 || (found == 4 && !ended)) << "a stale page returned: " << found;
     }},
    {"FlushObject",
     [](Bed& bed) {
       for (uint32_t i = 0; i < 4; ++i) bed.Put(kSwap, 1, i, i);
       bed.Put(kSwap, 2, 0, 7);
     },
     [](Bed& bed) { bed.store->FlushObject(*bed.guest, kSwap, MakeObjectId(1), kWhole); },
     [](Bed& bed, bool ended) {
       for (uint32_t i = 0; i < 4; ++i) {
         const int found = bed.Get(kSwap, 1, i);
         ASSERT_TRUE(found == -1 || (found == static_cast<int>(i) && !ended)) << found;
       }
       ASSERT_EQ(bed.Get(kSwap, 2, 0), 7);
     }},
    {"ExclusiveGet", [](Bed& bed) { bed.Put(kCache, 1, 5, 1); },
     [](Bed& bed) {
       Page page;
       (void)bed.store->Get(*bed.guest, Bed::HandleOf(kCache, 1, 5), page, bed.codec);
     },
     [](Bed& bed, bool ended) {
       const int found = bed.Get(kCache, 1, 5);
       ASSERT_TRUE(found == -1 || (found == 1 && !ended)) << found;
     }},
    {"NewPool", [](Bed&) {},
     [](Bed& bed) {
       (void)bed.store->NewPool(*bed.guest, {.page_class = kPersistent},
                                RingPosition{.queue = 1, .index = 9});
     },
     [](Bed& bed, bool ended) {
       const size_t pools = bed.store->StatsOf(GuestId{kGuest})->pools.size();
       ASSERT_TRUE(pools == 3 || (pools == 2 && !ended)) << pools;
       ASSERT_EQ(*bed.store->NewPool(*bed.guest, {.page_class = kPersistent},
                                     RingPosition{.queue = 1, .index = 9, .again = true}),
                 PoolId{2});
       ASSERT_EQ(bed.store->StatsOf(GuestId{kGuest})->pools.size(), 3u);
     }},
    {"DestroyPool",
     [](Bed& bed) {
       (void)bed.store->NewPool(*bed.guest, {.page_class = kPersistent});
       for (uint32_t i = 0; i < 3; ++i) bed.Put(PoolId{2}, 1, i, i);
     },
     [](Bed& bed) {
       bed.store->DestroyPool(*bed.guest, PoolId{2}, kWhole, RingPosition{.queue = 1, .index = 9});
     },
     [](Bed& bed, bool ended) {
       for (uint32_t i = 0; i < 3; ++i) {
         const int found = bed.Get(PoolId{2}, 1, i);
         ASSERT_TRUE(found == -1 || (found == static_cast<int>(i) && !ended)) << found;
       }
       ASSERT_EQ(bed.store->DestroyPool(*bed.guest, PoolId{2}, kWhole,
                                        RingPosition{.queue = 1, .index = 9, .again = true}),
                 FlushStatus::kDone);
       ASSERT_EQ(bed.store->StatsOf(GuestId{kGuest})->pools.size(), 2u);
     }},
    {"RefusedPutThatMovesPages",
     [](Bed& bed) {
       // Three segments, with pages enough free for one: almost all of them in the second.
       const uint32_t all = RawPages(3) - kBystanders;
       for (uint32_t i = 0; i < all; ++i) bed.Put(kSwap, 50, i, i % 10);
       const uint32_t second = RawPages(1) - kBystanders;
       for (uint32_t i = 0; i < kMoved; ++i) Flush(bed, i);
       for (uint32_t i = second + kMoved; i < second + RawPages(1); ++i) Flush(bed, i);
       GuestSettings settings = RawSettings();
       settings.reserve = Segments(14);
       (void)bed.store->AddGuest({.id = GuestId{9}, .uuid = UuidOf(9)}, settings);
       EXPECT_EQ(bed.store->Stats().segments[1], Segments(3));
     },
     [](Bed& bed) { bed.Put(kSwap, 50, 2 * kMoved, 1); },
     [](Bed& bed, bool ended) {
       const uint32_t second = RawPages(1) - kBystanders;
       for (uint32_t i = second; i < second + kMoved; ++i) {
         ASSERT_EQ(bed.Get(kSwap, 50, i), static_cast<int>(i % 10));
       }
       const int found = bed.Get(kSwap, 50, 2 * kMoved);
       ASSERT_TRUE(found == -1 || (found == 0 && !ended)) << found;
       if (ended) {
         ASSERT_EQ(bed.store->Stats().segments[1], Segments(2));
       }
       bed.store->RemoveGuest(GuestId{9});
     }},
    {"GuestsThatComeAndGo",
     [](Bed& bed) {
       auto other = *bed.store->AddGuest({.id = GuestId{9}, .uuid = UuidOf(9)}, RawSettings());
       const PoolId pool = *bed.store->NewPool(*other, {.page_class = kPersistent});
       (void)bed.store->Put(*other, Bed::HandleOf(pool, 1, 1), MakePage(PageLook::kRandom, 1),
                            bed.codec);
     },
     [](Bed& bed) {
       bed.store->RemoveGuest(GuestId{9});
       (void)bed.store->AddGuest({.id = GuestId{9}, .uuid = UuidOf(10)}, RawSettings());
     },
     [](Bed& bed, bool) { bed.store->RemoveGuest(GuestId{9}); }},
};

INSTANTIATE_TEST_SUITE_P(Kill, StoreKillTest, testing::ValuesIn(kOperations),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace tmem
