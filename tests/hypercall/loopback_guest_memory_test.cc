#include "hypercall/loopback/guest_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/units.h"
#include "hypercall/loopback/wire.h"
#include "hypercall/loopback_raw_guest.h"

namespace tmem::loopback {
namespace {

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW;

std::shared_ptr<GuestMemory> Adopt(const UniqueFd& memfd) {
  auto memory = GuestMemory::Adopt(UniqueFd(::dup(memfd.get())));
  return memory ? *std::move(memory) : nullptr;
}

// Marks each page with its number, as the guest would.
void Number(const UniqueFd& memfd, uint32_t pages) {
  for (uint32_t page = 0; page < pages; ++page) {
    ASSERT_EQ(::pwrite(memfd.get(), &page, sizeof(page), static_cast<off_t>(page * kPageSize)),
              static_cast<ssize_t>(sizeof(page)));
  }
}

uint32_t NumberAt(const SharedPages& pages, size_t i) {
  uint32_t number = 0;
  std::memcpy(&number, pages.bytes().data() + i * kPageSize, sizeof(number));
  return number;
}

std::vector<GrantRef> Refs(std::initializer_list<uint32_t> values) {
  std::vector<GrantRef> refs;
  for (const uint32_t value : values) refs.push_back(GrantRef{value});
  return refs;
}

TEST(LoopbackGuestMemoryTest, RefusesMemoryThatCouldGoAway) {
  EXPECT_FALSE(GuestMemory::Adopt(UniqueFd()));
  EXPECT_FALSE(Adopt(MakeMemfd(4, 0)));
  EXPECT_FALSE(Adopt(MakeMemfd(4, F_SEAL_GROW)));
  EXPECT_FALSE(Adopt(MakeMemfd(4, F_SEAL_SHRINK)));
  EXPECT_TRUE(Adopt(MakeMemfd(4, kSeals)));
  EXPECT_TRUE(Adopt(MakeMemfd(4, kSeals | F_SEAL_SEAL)));
}

TEST(LoopbackGuestMemoryTest, RefusesWhatIsNoMemfd) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  EXPECT_FALSE(GuestMemory::Adopt(UniqueFd(ends[0])));
  EXPECT_FALSE(GuestMemory::Adopt(UniqueFd(ends[1])));
  EXPECT_FALSE(GuestMemory::Adopt(UniqueFd(::open("/dev/zero", O_RDWR | O_CLOEXEC))));
  EXPECT_FALSE(GuestMemory::Adopt(UniqueFd(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC))));
}

TEST(LoopbackGuestMemoryTest, RefusesHugePages) {
  UniqueFd memfd(::memfd_create("huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB));
  if (!memfd || ::ftruncate(memfd.get(), 2 << 20) != 0) GTEST_SKIP() << "no huge pages here";
  ASSERT_EQ(::fcntl(memfd.get(), F_ADD_SEALS, kSeals), 0);
  EXPECT_FALSE(Adopt(memfd));
}

TEST(LoopbackGuestMemoryTest, RefusesMemoryThatCannotBeWritten) {
  EXPECT_FALSE(Adopt(MakeMemfd(4, kSeals | F_SEAL_WRITE)));
  EXPECT_FALSE(Adopt(MakeMemfd(4, kSeals | F_SEAL_FUTURE_WRITE)));
  const UniqueFd memfd = MakeGoodMemfd();
  const std::string path = "/proc/self/fd/" + std::to_string(memfd.get());
  EXPECT_FALSE(GuestMemory::Adopt(UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC))));
}

TEST(LoopbackGuestMemoryTest, LimitsTheSize) {
  EXPECT_FALSE(Adopt(MakeMemfd(0, kSeals)));
  EXPECT_TRUE(Adopt(MakeMemfd(kMaxGrantPages, kSeals)));
  EXPECT_FALSE(Adopt(MakeMemfd(kMaxGrantPages + 1, kSeals)));
  UniqueFd odd(::memfd_create("odd", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(odd.get(), kPageSize + 1), 0);
  ASSERT_EQ(::fcntl(odd.get(), F_ADD_SEALS, kSeals), 0);
  EXPECT_FALSE(Adopt(odd));
}

TEST(LoopbackGuestMemoryTest, MapsPagesInTheOrderAsked) {
  const UniqueFd memfd = MakeGoodMemfd(8);
  Number(memfd, 8);
  const auto memory = Adopt(memfd);
  const auto refs = Refs({3, 4, 5, 1, 8, 8});
  const auto pages = memory->Map(refs);
  ASSERT_TRUE(pages);
  ASSERT_EQ((*pages)->bytes().size(), refs.size() * kPageSize);
  for (size_t i = 0; i < refs.size(); ++i) EXPECT_EQ(NumberAt(**pages, i), refs[i].value - 1) << i;

  // It is the guest's memory, not a copy.
  (*pages)->bytes()[0] = std::byte{0x5a};
  char byte = 0;
  ASSERT_EQ(::pread(memfd.get(), &byte, 1, 2 * kPageSize), 1);
  EXPECT_EQ(byte, 0x5a);
}

TEST(LoopbackGuestMemoryTest, MapsAllOrNothing) {
  const auto memory = Adopt(MakeGoodMemfd(4));
  EXPECT_FALSE(memory->Map(Refs({1, 0})));
  EXPECT_FALSE(memory->Map(Refs({1, 5})));
  EXPECT_FALSE(memory->Map(Refs({UINT32_MAX})));
  EXPECT_TRUE(memory->Map(Refs({1, 4})));
}

TEST(LoopbackGuestMemoryTest, LimitsThePiecesThatAGuestCanScatter) {
  const auto memory = Adopt(MakeGoodMemfd(8));
  std::vector<GrantRef> scattered;  // every page is a piece of its own
  for (uint32_t i = 0; i < kMaxMappedRuns; ++i) scattered.push_back(GrantRef{1 + 2 * (i % 4)});
  auto pages = memory->Map(scattered);
  ASSERT_TRUE(pages);
  const auto more = memory->Map(Refs({1}));
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, ErrorCode::kExhausted);
  pages->reset();
  EXPECT_TRUE(memory->Map(scattered));
}

TEST(LoopbackGuestMemoryTest, MappingsOutliveTheMemory) {
  auto memory = Adopt(MakeGoodMemfd(4));
  const auto pages = memory->Map(Refs({2}));
  ASSERT_TRUE(pages);
  memory.reset();
  std::memset((*pages)->bytes().data(), 1, kPageSize);
  EXPECT_EQ((*pages)->bytes()[kPageSize - 1], std::byte{1});
}

TEST(LoopbackGuestMemoryTest, PunchedHolesReadAsZeros) {
  const UniqueFd memfd = MakeGoodMemfd(4);
  Number(memfd, 4);
  const auto pages = Adopt(memfd)->Map(Refs({4}));
  ASSERT_TRUE(pages);
  EXPECT_EQ(NumberAt(**pages, 0), 3u);
  ASSERT_EQ(::fallocate(memfd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4 * kPageSize),
            0);
  EXPECT_EQ(NumberAt(**pages, 0), 0u);
}

}  // namespace
}  // namespace tmem::loopback
