#include "agent/notify/notification.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <type_traits>
#include <utility>

#include "tests/agent_support/filtered_process.h"

namespace landgate::agent {
namespace {

using test::FilteredProcess;

static_assert(!std::is_copy_constructible_v<PendingNotification>);
static_assert(!std::is_default_constructible_v<Continue>);
static_assert(!std::is_constructible_v<Continue, std::string_view>);

bool AllZero(const Slot& slot) {
  static const Slot zero{};
  return memcmp(&slot, &zero, sizeof slot) == 0;
}

// getppid(2) as the body of a process whose exit status says what came of it.
int Getppid() {
  errno = 0;
  const long value = syscall(SYS_getppid, 11, 22);
  return value < 0 ? errno : static_cast<int>(value);
}

class Notification : public testing::Test {
 protected:
  PendingNotification Next(FilteredProcess& process) {
    process.Release();
    EXPECT_EQ(Receive(process.listener(), slot_), 0);
    return PendingNotification(process.listener(), slot_);
  }
  alignas(64) Slot slot_{};
};

TEST_F(Notification, SizesFit) { EXPECT_TRUE(CheckNotificationSizes()); }

TEST_F(Notification, CarriesTheCall) {
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, Getppid);
  PendingNotification pending = Next(process);
  EXPECT_EQ(pending.request().data.nr, SYS_getppid);
  EXPECT_EQ(pending.request().data.args[1], 22U);
  EXPECT_EQ(pending.request().pid, static_cast<uint32_t>(process.pid()));
  EXPECT_EQ(IdIn(slot_), pending.request().id);
  EXPECT_TRUE(pending.StillValid());
}

TEST_F(Notification, Denies) {
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, Getppid);
  EXPECT_EQ(Next(process).Deny(EOWNERDEAD), Answered::kDelivered);
  EXPECT_TRUE(AllZero(slot_)) << "free again";
  EXPECT_EQ(process.Wait(), EOWNERDEAD);
}

TEST_F(Notification, DeniesEvenWithAnErrnoThatIsNone) {
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, Getppid);
  EXPECT_EQ(Next(process).Deny(0), Answered::kDelivered);
  EXPECT_EQ(process.Wait(), EPERM) << "not a success that nobody performed";
}

TEST_F(Notification, Returns) {
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, Getppid);
  EXPECT_EQ(Next(process).Return(97), Answered::kDelivered);
  EXPECT_EQ(process.Wait(), 97);
}

TEST_F(Notification, Continues) {
  FilteredProcess process = FilteredProcess::Start(
      {SYS_getppid}, [parent = getpid()] { return syscall(SYS_getppid) == parent ? 0 : 1; });
  EXPECT_EQ(Next(process).Let(Continue::NothingMutable("a test")), Answered::kDelivered);
  EXPECT_EQ(process.Wait(), 0);
}

TEST_F(Notification, WhoForgetsDenies) {
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, Getppid);
  { const PendingNotification forgotten = Next(process); }
  EXPECT_TRUE(AllZero(slot_));
  EXPECT_EQ(process.Wait(), EPERM);
}

TEST_F(Notification, IsAnsweredOnceHoweverOftenItIsMoved) {
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, Getppid);
  PendingNotification first = Next(process);
  PendingNotification second = std::move(first);
  EXPECT_EQ(std::move(second).Return(5), Answered::kDelivered);
  // NOLINTNEXTLINE(bugprone-use-after-move): that is what is tested
  EXPECT_EQ(std::move(second).Return(6), Answered::kGone);
  EXPECT_EQ(std::move(first).Deny(EACCES), Answered::kGone);  // NOLINT(bugprone-use-after-move)
  EXPECT_FALSE(first.StillValid());                           // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(process.Wait(), 5);
}

TEST_F(Notification, ReturnsADescriptor) {
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] {
    const int fd = Getppid();
    char text[6] = {};
    const bool right = read(fd, text, 5) == 5 && strcmp(text, "hello") == 0;
    return right && fcntl(fd, F_GETFD) == FD_CLOEXEC ? 0 : 1;
  });
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd read_end(ends[0]), write_end(ends[1]);
  ASSERT_EQ(write(write_end.get(), "hello", 5), 5);
  EXPECT_EQ(Next(process).ReturnFd(read_end, true), Answered::kDelivered);
  EXPECT_TRUE(AllZero(slot_));
  EXPECT_EQ(process.Wait(), 0);
}

TEST_F(Notification, ADescriptorThatDoesNotFitIsTheCallersErrno) {
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] {
    const rlimit none{0, 0};
    if (setrlimit(RLIMIT_NOFILE, &none) != 0) return 1;
    return Getppid();
  });
  const UniqueFd fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
  (void)Next(process).ReturnFd(fd, false);
  EXPECT_EQ(process.Wait(), EMFILE);
}

TEST_F(Notification, ABadDescriptorDeniesAndNeverContinues) {
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, Getppid);
  (void)Next(process).ReturnFd(BorrowedFd(-1), false);
  EXPECT_EQ(process.Wait(), EBADF);
}

TEST_F(Notification, ACallerThatDiedIsGone) {
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, Getppid);
  PendingNotification pending = Next(process);
  process.Kill();
  EXPECT_TRUE(process.EndsWithin(std::chrono::seconds(10)));
  EXPECT_FALSE(pending.StillValid());
  EXPECT_EQ(std::move(pending).Return(1), Answered::kGone);
  EXPECT_TRUE(AllZero(slot_));
}

TEST_F(Notification, WhatIsAbandonedStaysForASuccessor) {
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, Getppid);
  Next(process).Abandon();
  EXPECT_NE(IdIn(slot_), 0U);
  EXPECT_TRUE(StillWaits(process.listener(), IdIn(slot_)));
  PendingNotification successor(process.listener(), slot_);
  EXPECT_EQ(successor.request().data.args[0], 11U);
  EXPECT_EQ(std::move(successor).Return(8), Answered::kDelivered);
  EXPECT_EQ(process.Wait(), 8);
}

TEST_F(Notification, WhoeverAnswersOnBehalfIsTheOnlyOne) {
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, Getppid);
  PendingNotification pending = Next(process);
  EXPECT_EQ(DenyOnBehalf(process.listener(), pending.request().id, EACCES), Answered::kDelivered);
  EXPECT_FALSE(pending.StillValid());
  EXPECT_FALSE(AllZero(slot_)) << "the slot is the other thread's";
  EXPECT_EQ(std::move(pending).Return(3), Answered::kGone);
  EXPECT_TRUE(AllZero(slot_));
  EXPECT_EQ(process.Wait(), EACCES);
}

TEST_F(Notification, TheOwnerLearnsTheOutcomeOnce) {
  struct Owner final : SlotOwner {
    void Done(Slot& slot, const Outcome& outcome) override {
      EXPECT_EQ(IdIn(slot), 0U) << "cleared before it is given back";
      ++times;
      last = outcome;
    }
    int times = 0;
    Outcome last{Outcome::kAbandoned};
  } owner;
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, Getppid);
  process.Release();
  ASSERT_EQ(Receive(process.listener(), slot_), 0);
  {
    PendingNotification pending(process.listener(), slot_, &owner);
    PendingNotification moved = std::move(pending);
    EXPECT_EQ(std::move(moved).Deny(EROFS), Answered::kDelivered);
  }
  EXPECT_EQ(owner.times, 1);
  EXPECT_EQ(owner.last.kind, Outcome::kDenied);
  EXPECT_EQ(owner.last.error_number, EROFS);
  EXPECT_EQ(process.Wait(), EROFS);
}

TEST_F(Notification, ASlotMustBeFreeToReceiveInto) {
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, Getppid);
  process.Release();
  slot_.notification[40] = 1;
  EXPECT_EQ(Receive(process.listener(), slot_), EINVAL);
  Clear(slot_);
  EXPECT_EQ(Receive(process.listener(), slot_), 0) << "and nothing was lost";
  PendingNotification pending(process.listener(), slot_);
  EXPECT_EQ(std::move(pending).Return(0), Answered::kDelivered);
  EXPECT_EQ(process.Wait(), 0);
}

// The probe says what this kernel does, not what its version says; Linux 6.11 is where it changed.
TEST_F(Notification, ProbeFindsOutWhetherReceiveEnds) {
  utsname names{};
  ASSERT_EQ(uname(&names), 0);
  int major = 0, minor = 0;
  ASSERT_EQ(sscanf(names.release, "%d.%d", &major, &minor), 2);
  if (major > 6 || (major == 6 && minor >= 11)) {
    EXPECT_TRUE(ReceiveEndsWithLastProcess());
  }
  if (!ReceiveEndsWithLastProcess()) GTEST_SKIP() << "not on this kernel; poll is used";
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] { return 0; });
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_EQ(Receive(process.listener(), slot_), ENOENT);
  pollfd state{process.listener().get(), POLLIN, 0};
  EXPECT_EQ(poll(&state, 1, 0), 1);
  EXPECT_NE(state.revents & POLLHUP, 0);
}

}  // namespace
}  // namespace landgate::agent
