#include "base/unique_fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <type_traits>
#include <utility>

namespace landgate {
namespace {

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }
int Open() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

static_assert(!std::is_copy_constructible_v<UniqueFd>);
static_assert(!std::is_convertible_v<int, UniqueFd>);
static_assert(!std::is_convertible_v<UniqueFd, int>);
static_assert(!std::is_convertible_v<int, BorrowedFd>);

TEST(UniqueFdTest, ClosesAtTheEndOfItsLife) {
  const int fd = Open();
  {
    const UniqueFd owner(fd);
    EXPECT_TRUE(owner.valid());
    EXPECT_TRUE(IsOpen(fd));
  }
  EXPECT_FALSE(IsOpen(fd));
  EXPECT_FALSE(UniqueFd().valid());
}

TEST(UniqueFdTest, AMoveClosesWhatTheTargetHeld) {
  const int first = Open();
  const int second = Open();
  UniqueFd a(first);
  UniqueFd b(second);
  a = std::move(b);
  EXPECT_FALSE(IsOpen(first));
  EXPECT_TRUE(IsOpen(second));
  EXPECT_EQ(a.get(), second);
  EXPECT_FALSE(b.valid());
  const UniqueFd c(std::move(a));
  EXPECT_EQ(c.get(), second);
  EXPECT_FALSE(a.valid());
}

TEST(UniqueFdTest, MovingToItselfKeepsTheDescriptor) {
  UniqueFd a(Open());
  UniqueFd& same = a;
  a = std::move(same);
  EXPECT_TRUE(a.valid());
  EXPECT_TRUE(IsOpen(a.get()));
}

TEST(UniqueFdTest, ReleaseHandsOutAndResetCloses) {
  UniqueFd a(Open());
  const int fd = a.Release();
  EXPECT_FALSE(a.valid());
  EXPECT_TRUE(IsOpen(fd));
  a.Reset(fd);
  a.Reset();
  EXPECT_FALSE(IsOpen(fd));
}

TEST(BorrowedFdTest, LooksWithoutOwning) {
  const UniqueFd owner(Open());
  {
    const BorrowedFd borrowed = owner;
    EXPECT_EQ(borrowed.get(), owner.get());
  }
  EXPECT_TRUE(IsOpen(owner.get()));
}

}  // namespace
}  // namespace landgate
