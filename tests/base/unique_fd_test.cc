#include "base/unique_fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <type_traits>

namespace tmem {
namespace {

static_assert(!std::is_copy_constructible_v<UniqueFd>);
static_assert(!std::is_copy_assignable_v<UniqueFd>);

UniqueFd OpenNull() { return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

bool IsOpen(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(UniqueFd, StartsEmpty) {
  const UniqueFd fd;
  EXPECT_FALSE(fd);
  EXPECT_EQ(fd.get(), -1);
}

TEST(UniqueFd, ClosesWhenItGoes) {
  int number = -1;
  {
    const UniqueFd fd = OpenNull();
    ASSERT_TRUE(fd);
    number = fd.get();
    EXPECT_TRUE(IsOpen(number));
  }
  EXPECT_FALSE(IsOpen(number));
}

TEST(UniqueFd, MovingHandsTheDescriptorOver) {
  UniqueFd first = OpenNull();
  const int number = first.get();
  UniqueFd second(std::move(first));
  EXPECT_FALSE(first);
  EXPECT_EQ(second.get(), number);

  UniqueFd third = OpenNull();
  const int replaced = third.get();
  third = std::move(second);
  EXPECT_FALSE(second);
  EXPECT_EQ(third.get(), number);
  EXPECT_FALSE(IsOpen(replaced));
  EXPECT_TRUE(IsOpen(number));
}

TEST(UniqueFd, MovingToItselfKeepsTheDescriptor) {
  UniqueFd fd = OpenNull();
  UniqueFd& same = fd;
  fd = std::move(same);
  ASSERT_TRUE(fd);
  EXPECT_TRUE(IsOpen(fd.get()));
}

TEST(UniqueFd, ResetClosesAndReleaseDoesNot) {
  UniqueFd fd = OpenNull();
  const int closed = fd.get();
  fd.Reset();
  EXPECT_FALSE(fd);
  EXPECT_FALSE(IsOpen(closed));

  fd = OpenNull();
  const UniqueFd kept(fd.Release());
  EXPECT_FALSE(fd);
  EXPECT_TRUE(IsOpen(kept.get()));
}

}  // namespace
}  // namespace tmem
