// The fault loop on real memory: this process's arena under userfaultfd, real threads, real forks.
#include "run/fault_loop.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "run/engine.h"
#include "run/guardian.h"
#include "run/uffd_space.h"

namespace tmem::run {
namespace {

constexpr uint32_t kLimit = Residency::Config::kMinLimitPages;
constexpr uint32_t kPages = 8 * kLimit;
constexpr uint32_t kFirst = Doorbells::kReservedPages;

#if defined(__SANITIZE_THREAD__)
constexpr bool kThreadSanitizer = true;
#else
constexpr bool kThreadSanitizer = false;
#endif

class FaultLoopTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // What write-protection orders, the sanitizer takes for a race.
    if (kThreadSanitizer) GTEST_SKIP() << "ThreadSanitizer does not know userfaultfd";
    void* const memory = ::mmap(nullptr, kPages * kPageSize, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    base_ = static_cast<std::byte*>(memory);
    auto space = UffdSpace::Open(base_, kPages);
    if (!space) GTEST_SKIP() << space.error().message;
    space_ = std::move(*space);
  }

  void TearDown() override {
    if (thread_.joinable()) {
      doorbells_->Ring({Command::Kind::kStop, {}});
      thread_.join();
    }
    space_.reset();
    if (base_ != nullptr) ::munmap(base_, kPages * kPageSize);
  }

  void Start(Spill spill, Guardian* guardian = nullptr) {
    const auto fatal = [](const std::string& message) {
      std::fputs(message.c_str(), stderr);
      std::abort();
    };
    backing_ = std::make_unique<Backing>(connection_.client(), connection_.pool(),
                                         spill == Spill::kFile ? TestSpillFile() : std::nullopt,
                                         counters_);
    residency_ =
        std::make_unique<Residency>(Residency::Config{.limit_pages = kLimit, .read_ahead_pages = 8},
                                    table_, *space_, *backing_, counters_, fatal);
    children_ = std::make_unique<ForkedChildren>(table_, *backing_, counters_, guardian, 8, fatal);
    doorbells_ = std::make_unique<Doorbells>(base_);
    loop_ = std::make_unique<FaultLoop>(*space_, *doorbells_, *residency_, *children_,
                                        [this] { finished_ = true; });
    thread_ = std::thread([this] { loop_->Run(); });
  }

  std::byte* At(uint32_t page) const { return base_ + (kFirst + page) * kPageSize; }
  uint64_t Get(uint32_t page) const {
    uint64_t value = 0;
    std::memcpy(&value, At(page), sizeof value);
    return value;
  }
  void Set(uint32_t page, uint64_t value) const { std::memcpy(At(page), &value, sizeof value); }

  void Ring(Command::Kind kind, uint32_t first = 0, uint32_t count = 0) {
    doorbells_->Ring({kind, {kFirst + first, count}});
  }

  // One thread's part of the arena, read and written and given up at random beside a plain array.
  // Returns false at the first wrong value.
  bool Play(uint32_t first, uint32_t count, unsigned seed, int steps) {
    std::mt19937 random(seed);
    std::vector<uint64_t> expected(count);
    for (int step = 0; step < steps; ++step) {
      const uint32_t page = random() % count;
      const uint32_t action = random() % 100;
      if (action < 50) {
        if (Get(first + page) != expected[page]) return false;
      } else if (action < 95) {
        expected[page] = random();
        Set(first + page, expected[page]);
      } else if (action < 97) {
        for (uint32_t k = page; k < count; ++k) {
          if (Get(first + k) != expected[k]) return false;
        }
      } else if (action == 97) {
        FakeTmem::RefusePuts(random() % 3 / 2.0);
      } else {
        const uint32_t given_up = 1 + random() % (count - page);
        Ring(Command::Kind::kDiscard, first + page, given_up);
        std::fill_n(expected.begin() + page, given_up, 0);
      }
    }
    for (uint32_t k = 0; k < count; ++k) {
      if (Get(first + k) != expected[k]) return false;
    }
    return true;
  }

  // Forks without the C library's handlers: its locks would make the fault loop, whose memory is
  // the C library's here, wait for the fork. The child may only touch memory and exit.
  template <class Function>
  pid_t ForkChild(Function in_child) {
    const pid_t child = ::_Fork();
    if (child != 0) return child;
    ::_exit(in_child() ? 0 : 1);
  }

  static int StatusOf(pid_t child) {
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
  }

  std::byte* base_ = nullptr;
  FakeConnection connection_;
  Counters counters_;
  PageTable table_{kPages};
  std::unique_ptr<UffdSpace> space_;
  std::unique_ptr<Backing> backing_;
  std::unique_ptr<Residency> residency_;
  std::unique_ptr<ForkedChildren> children_;
  std::unique_ptr<Doorbells> doorbells_;
  std::unique_ptr<FaultLoop> loop_;
  std::thread thread_;
  bool finished_ = false;
};

TEST_F(FaultLoopTest, ServesOneThread) {
  Start(Spill::kNone);
  for (uint32_t page = 0; page < kPages - kFirst; ++page) Set(page, page + 1);
  for (uint32_t page = 0; page < kPages - kFirst; ++page) ASSERT_EQ(Get(page), page + 1);
  Ring(Command::Kind::kFinish);
  EXPECT_TRUE(finished_);
  EXPECT_LE(counters_.resident_peak, kLimit);
  EXPECT_GT(counters_.gets_found, kPages - kFirst - kLimit - 1);
}

TEST_F(FaultLoopTest, KeepsEveryThreadsMemoryUnderRandomRefusals) {
  for (const Spill spill : {Spill::kFile, Spill::kNone}) {
    if (thread_.joinable()) {
      Ring(Command::Kind::kDiscard, 0, kPages - kFirst);
      Ring(Command::Kind::kStop);
      thread_.join();
      FakeTmem::Reset();
    }
    Start(spill);
    constexpr uint32_t kThreads = 4;
    constexpr uint32_t kPart = (kPages - kFirst) / kThreads;
    std::vector<char> good(kThreads);
    std::vector<std::thread> threads;
    for (uint32_t k = 0; k < kThreads; ++k) {
      threads.emplace_back([&, k] { good[k] = Play(k * kPart, kPart, k + 1, 4000); });
    }
    for (std::thread& thread : threads) thread.join();
    for (uint32_t k = 0; k < kThreads; ++k) EXPECT_TRUE(good[k]) << "thread " << k;
  }
}

TEST_F(FaultLoopTest, TwoThreadsOnTheSamePages) {
  Start(Spill::kNone);
  constexpr uint32_t kShared = 4 * kLimit;
  // Each owns half of every page's counters: no write of either may be lost.
  const auto count_up = [&](size_t offset) {
    for (uint32_t round = 1; round <= 20; ++round) {
      for (uint32_t page = 0; page < kShared; ++page) {
        uint32_t value = 0;
        std::memcpy(&value, At(page) + offset, sizeof value);
        if (value != round - 1) return false;
        std::memcpy(At(page) + offset, &round, sizeof round);
      }
    }
    return true;
  };
  bool other = false;
  std::thread thread([&] { other = count_up(1024); });
  EXPECT_TRUE(count_up(64));
  thread.join();
  EXPECT_TRUE(other);
}

TEST_F(FaultLoopTest, TheKernelReadsAndWritesEvictedMemory) {
  Start(Spill::kNone);
  for (uint32_t page = 0; page < 4 * kLimit; ++page) Set(page, page + 1);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ASSERT_EQ(::write(ends[1], At(0), 8), 8) << "page 0 is evicted by now";
  ASSERT_EQ(::read(ends[0], At(1), 8), 8);
  EXPECT_EQ(Get(1), 1u);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_F(FaultLoopTest, AChildSeesMemoryAsItWasAtTheFork) {
  Start(Spill::kNone);
  if (!space_->follows_forks()) GTEST_SKIP() << "forks are told to CAP_SYS_PTRACE only";
  const uint32_t pages = kPages - kFirst;
  for (uint32_t page = 0; page < pages; ++page) Set(page, page + 1);
  for (uint32_t page = 0; page < pages; page += 3) ASSERT_EQ(Get(page), page + 1);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ForkChild([&] {
    char go = 0;
    if (::read(ends[0], &go, 1) != 1) return false;
    // The grandchild, forked from a child that has filled half of its memory.
    for (uint32_t page = 0; page < pages / 2; ++page) {
      if (Get(page) != page + 1) return false;
      Set(page, page + 2);
    }
    const pid_t grandchild = ForkChild([&] {
      for (uint32_t page = 0; page < pages; ++page) {
        if (Get(page) != page + (page < pages / 2 ? 2u : 1u)) return false;
      }
      return true;
    });
    for (uint32_t page = 0; page < pages; ++page) Set(page, 9);
    return StatusOf(grandchild) == 0;
  });
  ASSERT_GT(child, 0);
  // The parent changes everything, evicted or not, and gives some up, before the child looks.
  for (uint32_t page = 0; page < pages; ++page) Set(page, page + 1000);
  Ring(Command::Kind::kDiscard, 0, pages / 4);
  ASSERT_EQ(::write(ends[1], "g", 1), 1);
  for (uint32_t page = pages / 4; page < pages; ++page) ASSERT_EQ(Get(page), page + 1000);
  EXPECT_EQ(StatusOf(child), 0);
  EXPECT_EQ(counters_.forks, 2u);
  for (uint32_t page = 0; page < pages / 4; ++page) ASSERT_EQ(Get(page), 0u);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_F(FaultLoopTest, ForksWhileThreadsRun) {
  Start(Spill::kFile);
  if (!space_->follows_forks()) GTEST_SKIP() << "forks are told to CAP_SYS_PTRACE only";
  constexpr uint32_t kPart = (kPages - kFirst) / 4;
  std::vector<char> good(3);
  std::vector<std::thread> threads;
  // They do not discard: which fork sees that is for the preloaded library to order.
  const auto write_and_check = [&](uint32_t first) {
    for (uint32_t round = 1; round <= 30; ++round) {
      for (uint32_t page = first; page < first + kPart; ++page) {
        if (Get(page) != round - 1) return false;
        Set(page, round);
      }
    }
    return true;
  };
  for (uint32_t k = 0; k < good.size(); ++k) {
    threads.emplace_back([&, k] { good[k] = write_and_check(k * kPart); });
  }
  const uint32_t mine = 3 * kPart;
  for (uint32_t round = 1; round <= 20; ++round) {
    for (uint32_t page = mine; page < mine + kPart; ++page) Set(page, round);
    const pid_t child = ForkChild([&] {
      for (uint32_t page = mine; page < mine + kPart; ++page) {
        if (Get(page) != round) return false;
      }
      // The other threads' pages only ever grow along the address.
      for (uint32_t page = 1; page < kPart; ++page) {
        if (Get(page) > Get(page - 1)) return false;
      }
      return true;
    });
    ASSERT_GT(child, 0);
    for (uint32_t page = mine; page < mine + kPart; page += 2) Set(page, 0);
    EXPECT_EQ(StatusOf(child), 0) << "round " << round;
  }
  for (std::thread& thread : threads) thread.join();
  for (const char one : good) EXPECT_TRUE(one);
}

TEST_F(FaultLoopTest, FinishLetsChildrenOutliveTheLoop) {
  Start(Spill::kNone);
  if (!space_->follows_forks()) GTEST_SKIP() << "forks are told to CAP_SYS_PTRACE only";
  const uint32_t pages = kPages - kFirst;
  for (uint32_t page = 0; page < pages; ++page) Set(page, page + 1);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ForkChild([&] {
    char go = 0;
    if (::read(ends[0], &go, 1) != 1) return false;
    for (uint32_t page = 0; page < pages; ++page) {
      if (Get(page) != page + 1) return false;
    }
    return true;
  });
  ASSERT_GT(child, 0);
  Ring(Command::Kind::kFinish);
  // As at the end of a process: nobody serves any more, and the descriptors go.
  Ring(Command::Kind::kStop);
  thread_.join();
  children_.reset();
  space_.reset();
  ASSERT_EQ(::write(ends[1], "g", 1), 1);
  EXPECT_EQ(StatusOf(child), 0);
  ::close(ends[0]);
  ::close(ends[1]);
}

// A process with a loop of its own that has a child and is killed: the child must not read zeros.
TEST_F(FaultLoopTest, TheGuardianKillsChildrenOfAKilledProgram) {
  if (!space_->follows_forks()) GTEST_SKIP() << "forks are told to CAP_SYS_PTRACE only";
  space_.reset();  // nobody here would tell it of the fork
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  // Orphans come to us, so that we can wait for them.
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  const pid_t program = ::fork();
  ASSERT_GE(program, 0);
  if (program == 0) {
    auto guardian = Guardian::Start(base_);
    auto space = UffdSpace::Open(base_, kPages);
    if (!guardian || !space) ::_exit(1);
    space_ = std::move(*space);
    Start(Spill::kNone, guardian->get());
    for (uint32_t page = 0; page < kPages - kFirst; ++page) Set(page, page + 1);
    const pid_t child = ::_Fork();
    if (child == 0) {
      ::close((*guardian)->fd());  // the library keeps it out of the program's reach
      uint64_t hello = 0;
      std::memcpy(&hello, base_ + Doorbells::kHelloPage * kPageSize, sizeof hello);
      // Says who it is, then looks at its memory for ever.
      const pid_t self = ::getpid();
      if (hello != ForkedChildren::kHello || ::write(ends[1], &self, sizeof self) < 0) ::_exit(1);
      for (;;) {
        for (uint32_t page = 0; page < kPages - kFirst; ++page) {
          // Volatile: the compiler may take a loop without effects for one that ends.
          if (*reinterpret_cast<const volatile uint64_t*>(At(page)) != page + 1) ::_exit(2);
        }
      }
    }
    for (;;) ::pause();
  }
  ::close(ends[1]);
  pid_t child = 0;
  ASSERT_EQ(::read(ends[0], &child, sizeof child), static_cast<ssize_t>(sizeof child));
  ASSERT_EQ(::kill(program, SIGKILL), 0);
  EXPECT_TRUE(WIFSIGNALED(StatusOf(program)));
  const int status = StatusOf(child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
  ::close(ends[0]);
}

}  // namespace
}  // namespace tmem::run
