#include "agent/notify/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <future>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "agent/limits.h"
#include "agent/notify/memory.h"
#include "tests/agent_support/listener_fixture.h"

namespace landgate::agent {
namespace {

using test::Agency;
using test::FilteredProcess;
using test::Gate;
using Shard = Metrics::Shard;
using Clock = std::chrono::steady_clock;

// What the workloads of these tests call, and how the handlers answer by default: the argument
// back.
long Call0(long argument) { return syscall(SYS_getppid, argument, 0); }

void Echo(Call& call) {
  (void)std::move(call.notification).Return(static_cast<int64_t>(call.request.data.args[0]));
}

// Children of the calling process that run `body`; the number of those that did not return 0.
int InChildren(int count, const std::function<int(int)>& body) {
  std::vector<pid_t> children;
  for (int i = 0; i < count; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
      _exit(body(i));
    }
    children.push_back(child);
  }
  int failed = 0;
  for (const pid_t child : children) {
    int status = -1;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) ++failed;
  }
  return failed;
}

TEST(Listener, AnswersEveryCallAndEndsWithTheLastProcess) {
  Agency agency;
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] {
    return InChildren(4, [](int child) {
      for (long i = 0; i < 500; ++i)
        if (Call0(child * 1000 + i) != child * 1000 + i) return 1;
      return 0;
    });
  });
  std::shared_ptr<Listener> listener = agency.Serve(process.TakeListener(), Echo);
  const uint32_t region = listener->region_index();
  const std::weak_ptr<Listener> gone = listener;
  listener.reset();  // it serves on
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_TRUE(agency.Ended(1));
  EXPECT_FALSE(agency.area().InUse(region));
  EXPECT_EQ(agency.Sum(&Shard::received), 2000U);
  EXPECT_EQ(agency.Sum(&Shard::returned), 2000U);
  EXPECT_TRUE(test::Eventually([&] { return gone.expired(); }));
  EXPECT_EQ(agency.metrics().listeners, 0);
}

// Of the program before any test. A thread that came and went brings along what a sanitizer adds.
class AtStart : public testing::Environment {
 public:
  void SetUp() override {
    std::thread([] {}).join();
    EXPECT_TRUE(test::Eventually([] { return test::CountThreads() <= 2; }));
    threads = test::CountThreads();
    descriptors = test::CountDescriptors();
  }
  static inline int threads = 0, descriptors = 0;
};
const testing::Environment* const at_start = testing::AddGlobalTestEnvironment(new AtStart);

// The keeper ends some seconds after it had something to do.
bool AllThreadsBack() {
  return test::Eventually([] { return test::CountThreads() <= AtStart::threads; });
}

TEST(Listener, IdleAndThenEndsAtOnce) {
  Agency agency;
  ASSERT_TRUE(AllThreadsBack());
  {
    FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] { return 0; });
    (void)agency.Serve(process.TakeListener(), Echo);
    EXPECT_GT(test::CountThreads(), AtStart::threads);
    EXPECT_EQ(process.Wait(), 0);
  }
  EXPECT_TRUE(agency.Ended(1));
  EXPECT_TRUE(AllThreadsBack());
  EXPECT_TRUE(test::Eventually([] { return test::CountDescriptors() <= AtStart::descriptors + 1; }))
      << "one is the area's";
}

TEST(Listener, PhasesOnlyGrow) {
  Agency agency;
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] { return 0; });
  const std::shared_ptr<Listener> listener = agency.Serve(process.TakeListener(), Echo);
  EXPECT_EQ(listener->phase(), Phase::kRuntime);
  listener->Advance(Phase::kWorkload);
  listener->Advance(Phase::kLauncher);
  EXPECT_EQ(listener->phase(), Phase::kWorkload);
  EXPECT_EQ(listener->container().id(), "a-container");
  EXPECT_GT(listener->key(), 0U);
}

TEST(Listener, WhatAHandlerForgetsOrThrowsAwayIsDenied) {
  Agency agency;
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] {
    if (Call0(1) != -1 || errno != EPERM) return 1;
    if (Call0(2) != -1 || errno != EPERM) return 2;
    return Call0(3) == 3 ? 0 : 3;
  });
  const auto listener = agency.Serve(process.TakeListener(), [](Call& call) {
    if (call.request.data.args[0] == 1) return;
    if (call.request.data.args[0] == 2) throw std::bad_alloc();
    Echo(call);
  });
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_TRUE(agency.Ended(1));
  EXPECT_EQ(agency.Sum(&Shard::failed), 1U);
  EXPECT_EQ(agency.Sum(&Shard::denied), 2U);
}

TEST(Listener, CountsDenialsButNotMissingCalls) {
  Agency agency;
  Gate gate;
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] {
    return Call0(EACCES) == -1 && errno == EACCES && Call0(ENOSYS) == -1 && errno == ENOSYS &&
                   Call0(0) == 0
               ? 0
               : 1;
  });
  const auto listener = agency.Serve(process.TakeListener(), [&](Call& call) {
    const int wanted = static_cast<int>(call.request.data.args[0]);
    if (wanted != 0) {
      (void)std::move(call.notification).Deny(wanted);
      return;
    }
    gate.Pass();
    Echo(call);
  });
  process.Release();
  ASSERT_TRUE(gate.Waiting(1));
  EXPECT_EQ(listener->region().denied, 1U);
  gate.Open();
  EXPECT_EQ(process.Wait(), 0);
}

TEST(Listener, OneThatIsHeldUpDelaysNobody) {
  Agency agency;
  Gate gate;
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] {
    return InChildren(5, [](int child) {
      if (child < 4) return Call0(-1) == 7 ? 0 : 1;
      for (long i = 0; i < 2000; ++i)
        if (Call0(i) != i) return 1;
      // Only now are the four let go.
      return Call0(-2) == 8 ? 0 : 1;
    });
  });
  const auto listener = agency.Serve(process.TakeListener(), [&](Call& call) {
    const auto argument = static_cast<int64_t>(call.request.data.args[0]);
    if (argument == -1) {
      EXPECT_TRUE(call.MaySlow());
      gate.Pass();
      (void)std::move(call.notification).Return(7);
    } else if (argument == -2) {
      EXPECT_TRUE(gate.Waiting(4));
      gate.Open();
      (void)std::move(call.notification).Return(8);
    } else {
      Echo(call);
    }
  });
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_GE(agency.Sum(&Shard::stood_in), 1U);
}

// Whoever makes slow calls on purpose delays others once: from then on the role goes over before.
TEST(Listener, AfterOneThatWasHeldUpItIsCautious) {
  Agency agency;
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] {
    for (int i = 0; i < 40; ++i)
      if (Call0(-1) != 7) return 1;
    return 0;
  });
  const auto listener = agency.Serve(process.TakeListener(), [&](Call& call) {
    EXPECT_TRUE(call.MaySlow());
    (void)poll(nullptr, 0, 5);
    (void)std::move(call.notification).Return(7);
  });
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_TRUE(agency.Ended(1));
  const uint64_t stood_in = agency.Sum(&Shard::stood_in);
  EXPECT_GE(stood_in, 1U);
  EXPECT_LE(stood_in, 5U) << "not once for each of the forty";
}

// Kernels where a blocked receive doesn't end with the last process.
TEST(Listener, PollingBeforeReceivingServesAndEndsToo) {
  Agency agency;
  agency.PollBeforeReceiving();
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] {
    return InChildren(4, [](int child) {
      if (child == 0 && Call0(-1) != 7) return 2;
      for (long i = 0; i < 500; ++i)
        if (Call0(i) != i) return 1;
      return 0;
    });
  });
  (void)agency.Serve(process.TakeListener(), [&](Call& call) {
    if (static_cast<int64_t>(call.request.data.args[0]) == -1) {
      EXPECT_TRUE(call.MaySlow());
      (void)poll(nullptr, 0, 20);
      (void)std::move(call.notification).Return(7);
    } else {
      Echo(call);
    }
  });
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_TRUE(agency.Ended(1));
  EXPECT_EQ(agency.Sum(&Shard::receive_errors), 0U);

  FilteredProcess idle = FilteredProcess::Start({SYS_getppid}, [] { return 0; });
  std::shared_ptr<Listener> stopped = agency.Serve(idle.TakeListener(), Echo);
  EXPECT_TRUE(stopped->Stop(test::kPatience));
  agency.Forget();
}

// The stand-in is not a second thread in the receive: a call that is decided quickly never meets
// it.
TEST(Listener, QuickSlowCallsNeedTwoThreadsAtMost) {
  Agency agency;
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] {
    for (long i = 0; i < 3000; ++i)
      if (Call0(i) != i) return 1;
    return 0;
  });
  std::atomic<int> changes{0};
  std::atomic<std::thread::id> last{};
  const auto listener = agency.Serve(process.TakeListener(), [&](Call& call) {
    EXPECT_TRUE(call.MaySlow());
    EXPECT_TRUE(call.MaySlow()) << "twice does no harm";
    if (last.exchange(std::this_thread::get_id()) != std::this_thread::get_id()) ++changes;
    Echo(call);
  });
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_TRUE(agency.Ended(1));
  EXPECT_LE(changes, 20) << "the first, and what a busy machine adds";
}

TEST(Listener, NoMoreThanTheLimitIsInHandAndQuickCallsGoOn) {
  Agency agency;
  Gate gate;
  constexpr int kCallers = static_cast<int>(kMaxInFlightPerListener) + 10;
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] {
    return InChildren(kCallers, [](int) {
      errno = 0;
      const long value = Call0(-1);
      if (value == 7) return 0;  // was in hand
      // Too many: told at once, and what needs no slow work is still answered.
      return value == -1 && errno == EAGAIN && Call0(5) == 5 ? 0 : 1;
    });
  });
  std::atomic<int> busy{0}, most{0}, now{0};
  const auto listener = agency.Serve(process.TakeListener(), [&](Call& call) {
    if (static_cast<int64_t>(call.request.data.args[0]) != -1) {
      Echo(call);
      return;
    }
    if (!call.MaySlow()) {
      (void)std::move(call.notification).Deny(EAGAIN);
      if (++busy == kCallers - static_cast<int>(kMaxInFlightPerListener)) gate.Open();
      return;
    }
    const int at_a_time = ++now;
    int seen = most;
    while (seen < at_a_time && !most.compare_exchange_weak(seen, at_a_time)) {
    }
    gate.Pass();
    --now;
    (void)std::move(call.notification).Return(7);
  });
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_TRUE(agency.Ended(1));
  EXPECT_EQ(most, static_cast<int>(kMaxInFlightPerListener));
  EXPECT_EQ(agency.Sum(&Shard::busy), 10U);
}

TEST(Listener, ANotificationMayBeAnsweredElsewhere) {
  Agency agency;
  FilteredProcess process = FilteredProcess::Start(
      {SYS_getppid}, [] { return Call0(1) == 1 && Call0(-1) == 9 && Call0(2) == 2 ? 0 : 1; });
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<PendingNotification> kept;
  const auto listener = agency.Serve(process.TakeListener(), [&](Call& call) {
    if (static_cast<int64_t>(call.request.data.args[0]) != -1) {
      Echo(call);
      return;
    }
    const std::lock_guard lock(mutex);
    kept.emplace(std::move(call.notification));
    changed.notify_all();
  });
  process.Release();
  std::unique_lock lock(mutex);
  ASSERT_TRUE(changed.wait_for(lock, test::kPatience, [&] { return kept.has_value(); }));
  EXPECT_TRUE(kept->StillValid());
  EXPECT_EQ(std::move(*kept).Return(9), Answered::kDelivered);
  EXPECT_EQ(process.Wait(), 0);
}

TEST(Listener, EndsOnlyWhenNothingIsInHandAnyMore) {
  Agency agency;
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] { return Call0(1) == 9; });
  std::promise<PendingNotification> kept;
  (void)agency.Serve(process.TakeListener(),
                     [&](Call& call) { kept.set_value(std::move(call.notification)); });
  process.Release();
  PendingNotification pending = kept.get_future().get();
  process.Kill();
  EXPECT_EQ(process.Wait(), 128 + SIGKILL);
  // Its threads end; the answer that is still owed keeps the region.
  EXPECT_TRUE(test::Eventually([&] { return !pending.StillValid(); }));
  EXPECT_FALSE(agency.metrics().listeners == 0);
  EXPECT_EQ(std::move(pending).Deny(EACCES), Answered::kGone);
  EXPECT_TRUE(agency.Ended(1));
}

// --- a predecessor's slots

TEST(Listener, HandlesWhatAPredecessorLeftFirst) {
  Agency agency;
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] {
    return InChildren(3, [](int child) { return Call0(child + 1) == child + 101 ? 0 : 1; });
  });
  const std::optional<uint32_t> region = agency.area().Allocate(agency.area().NextKey());
  ASSERT_TRUE(region);
  process.Release();
  Region& left = agency.area().At(*region);
  // What a serving process does until it is killed: two in hand. The third caller still waits in
  // the kernel.
  ASSERT_EQ(Receive(process.listener(), left.slots[0]), 0);
  ASSERT_EQ(Receive(process.listener(), left.slots[9]), 0);
  const uint64_t first = IdIn(left.slots[0]), second = IdIn(left.slots[9]);
  std::vector<uint64_t> order;
  (void)agency.Serve(process.TakeListener(), *region, [&](Call& call) {
    order.push_back(call.request.id);
    (void)std::move(call.notification)
        .Return(static_cast<int64_t>(call.request.data.args[0]) + 100);
  });
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_TRUE(agency.Ended(1));
  ASSERT_EQ(order.size(), 3U);
  EXPECT_EQ(order[0], first);
  EXPECT_EQ(order[1], second);
  EXPECT_EQ(agency.Sum(&Shard::replayed), 2U);
  EXPECT_EQ(agency.Sum(&Shard::replayed_stale), 0U);
}

TEST(Listener, WhatItsPredecessorHadAnsweredIsNotHandledAgain) {
  Agency agency;
  FilteredProcess process =
      FilteredProcess::Start({SYS_getppid}, [] { return Call0(1) == 50 && Call0(2) == 2 ? 0 : 1; });
  const std::optional<uint32_t> region = agency.area().Allocate(agency.area().NextKey());
  ASSERT_TRUE(region);
  process.Release();
  Slot& slot = agency.area().At(*region).slots[0];
  ASSERT_EQ(Receive(process.listener(), slot), 0);
  const Slot copy = slot;
  EXPECT_EQ(PendingNotification(process.listener(), slot).Return(50), Answered::kDelivered);
  slot = copy;  // killed between the answer and clearing the slot
  (void)agency.Serve(process.TakeListener(), *region, Echo);
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_TRUE(agency.Ended(1));
  EXPECT_EQ(agency.Sum(&Shard::replayed), 0U);
  EXPECT_EQ(agency.Sum(&Shard::replayed_stale), 1U);
}

// More that hang than may be in hand at a time must not keep the rest from being replayed.
TEST(Listener, AStuckReplayHoldsUpNoOther) {
  Agency agency;
  Gate gate;
  constexpr int kLeft = 12;
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] {
    return InChildren(kLeft, [](int child) { return Call0(child) == child ? 0 : 1; });
  });
  const std::optional<uint32_t> region = agency.area().Allocate(agency.area().NextKey());
  ASSERT_TRUE(region);
  process.Release();
  for (int i = 0; i < kLeft; ++i)
    ASSERT_EQ(Receive(process.listener(), agency.area().At(*region).slots[i]), 0);
  (void)agency.Serve(process.TakeListener(), *region, [&](Call& call) {
    EXPECT_TRUE(call.MaySlow());
    gate.Pass();
    Echo(call);
  });
  EXPECT_TRUE(gate.Waiting(kLeft)) << "all of them are in hand at the same time";
  gate.Open();
  EXPECT_EQ(process.Wait(), 0);
}

TEST(Listener, StopsAndASuccessorGoesOn) {
  Agency agency;
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] {
    for (long i = 0; i < 20000; ++i)
      if (Call0(i) != i) return 1;
    return 0;
  });
  UniqueFd kept(fcntl(process.listener().get(), F_DUPFD_CLOEXEC, 0));
  std::shared_ptr<Listener> first = agency.Serve(process.TakeListener(), Echo);
  const uint32_t region = first->region_index();
  process.Release();
  EXPECT_TRUE(test::Eventually([&] { return agency.Sum(&Shard::received) > 100; }));
  EXPECT_TRUE(first->Stop(test::kPatience));
  agency.Forget();
  first.reset();
  const uint64_t by_the_first = agency.Sum(&Shard::received);
  (void)agency.Serve(std::move(kept), region, Echo);
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_TRUE(agency.Ended(1));
  EXPECT_GT(agency.Sum(&Shard::received), by_the_first);
}

TEST(Listener, StopsWhileItIsIdle) {
  Agency agency;
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] { return 0; });
  std::shared_ptr<Listener> listener = agency.Serve(process.TakeListener(), Echo);
  EXPECT_TRUE(listener->Stop(test::kPatience));
  agency.Forget();
  EXPECT_TRUE(AllThreadsBack());
  const std::weak_ptr<Listener> gone = listener;
  listener.reset();
  EXPECT_TRUE(test::Eventually([&] { return gone.expired(); }));
}

// --- memory that never comes

// An address whose page is filled by nobody: whoever reads it waits, in the kernel too.
void* StuckPage() {
  const auto uffd = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC));
  uffdio_api api{};
  api.api = UFFD_API;
  if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) < 0) return nullptr;
  void* const page =
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  uffdio_register range{};
  range.range = {reinterpret_cast<uintptr_t>(page), 4096};
  range.mode = UFFDIO_REGISTER_MODE_MISSING;
  if (page == MAP_FAILED || ioctl(uffd, UFFDIO_REGISTER, &range) < 0) return nullptr;
  return page;
}

bool UserfaultfdWorks() {
  return FilteredProcess::Start({SYS_getppid}, [] {
           return StuckPage() != nullptr ? 0 : 1;
         }).Wait() == 0;
}

// Reads a path where there is one, as a handler of path calls does.
void ReadAndEcho(Call& call) {
  if (call.request.data.args[1] != 0) {
    if (!call.MaySlow()) {
      (void)std::move(call.notification).Deny(EAGAIN);
      return;
    }
    std::array<char, 4096> buffer;
    const auto path =
        ReadString(static_cast<pid_t>(call.request.pid), call.request.data.args[1], buffer);
    if (!path) {
      (void)std::move(call.notification).Deny(ErrnoOf(path.error()));
      return;
    }
    if (!call.notification.StillValid()) return;
  }
  Echo(call);
}

constexpr int kNoUserfaultfd = 77;

TEST(ListenerMemory, ACallerThatNeverGivesItsMemoryIsDeniedAndDelaysNobody) {
  if (!UserfaultfdWorks()) GTEST_SKIP() << "no userfaultfd with faults from the kernel";
  Agency agency;
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] {
    const pid_t stuck = fork();
    if (stuck == 0) {
      void* const page = StuckPage();
      if (page == nullptr) _exit(kNoUserfaultfd);
      const auto begin = Clock::now();
      const long value = syscall(SYS_getppid, 5, page);
      const int error = errno;
      const auto took = Clock::now() - begin;
      if (value != -1 || error != EACCES) _exit(2);
      if (took < kMemoryDeadline - std::chrono::milliseconds(10)) _exit(3);
      if (took > kMemoryDeadline + std::chrono::seconds(5)) _exit(4);
      // Its thread is still stuck over there. Later calls of ours are answered.
      _exit(syscall(SYS_getppid, 6, "a path") == 6 ? 0 : 5);
    }
    // Until the stuck one is denied, calls of both kinds go on.
    long calls = 0;
    int status = 0;
    std::chrono::nanoseconds longest{0};
    while (waitpid(stuck, &status, WNOHANG) == 0) {
      const auto begin = Clock::now();
      if (syscall(SYS_getppid, calls, "a path") != calls) return 10;
      if (Call0(calls) != calls) return 11;
      longest = std::max<std::chrono::nanoseconds>(longest, Clock::now() - begin);
      ++calls;
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return 20 + WEXITSTATUS(status);
    if (calls < 1000) return 12;
    // Whatever a busy machine adds: far from the deadline.
    return longest < std::chrono::milliseconds(500) ? 0 : 13;
  });
  const auto listener = agency.Serve(process.TakeListener(), ReadAndEcho);
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_TRUE(agency.Ended(1)) << "the stuck thread came back when its caller's memory went";
  EXPECT_EQ(agency.Sum(&Shard::expired), 1U);
  EXPECT_GE(agency.Sum(&Shard::stood_in), 1U);
  const std::vector<AuditRecord> records = agency.audit().records();
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].reason, AuditReason::kExpired);
  EXPECT_EQ(records[0].verdict, AuditVerdict::kDeny);
  EXPECT_EQ(records[0].error_number, EACCES);
}

TEST(ListenerMemory, AuditModeDeniesNothing) {
  if (!UserfaultfdWorks()) GTEST_SKIP() << "no userfaultfd with faults from the kernel";
  Agency agency;
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] {
    void* const page = StuckPage();
    return syscall(SYS_getppid, 5, page) == syscall(SYS_getppid, 0, 0) ? 0 : 1;
  });
  (void)agency.Serve(
      process.TakeListener(),
      [](Call& call) {
        std::array<char, 64> buffer;
        if (call.request.data.args[1] != 0)
          (void)ReadString(static_cast<pid_t>(call.request.pid), call.request.data.args[1], buffer);
        (void)std::move(call.notification).Let(Continue::AuditMode());
      },
      test::NewContainer(oci::Mode::kAudit));
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_TRUE(agency.Ended(1));
  EXPECT_EQ(agency.Sum(&Shard::expired), 1U);
  EXPECT_EQ(agency.Sum(&Shard::denied), 0U);
}

// More stuck callers than may be in hand: what needs memory is refused, the rest is answered.
TEST(ListenerMemory, StuckThreadsAreBounded) {
  if (!UserfaultfdWorks()) GTEST_SKIP() << "no userfaultfd with faults from the kernel";
  Agency agency;
  const int threads = test::CountThreads();
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] {
    constexpr int kStuck = static_cast<int>(kMaxInFlightPerListener) + 12;
    std::vector<pid_t> stuck;
    for (int i = 0; i < kStuck; ++i) {
      const pid_t child = fork();
      if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        void* const page = StuckPage();
        const long value = syscall(SYS_getppid, 5, page);
        if (value != -1 || (errno != EACCES && errno != EAGAIN)) _exit(1);
        for (;;) pause();  // keeps the memory stuck
      }
      stuck.push_back(child);
    }
    for (long i = 0; i < 1000; ++i)
      if (Call0(i) != i) return 1;
    for (const pid_t child : stuck) kill(child, SIGKILL);
    int failed = 0, status = 0;
    while (wait(&status) > 0)
      if (WIFEXITED(status)) ++failed;
    return failed;
  });
  std::atomic<int> most{0};
  const auto listener = agency.Serve(process.TakeListener(), [&](Call& call) {
    const int now = test::CountThreads();
    int seen = most;
    while (seen < now && !most.compare_exchange_weak(seen, now)) {
    }
    ReadAndEcho(call);
  });
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_TRUE(agency.Ended(1));
  EXPECT_LE(most, threads + static_cast<int>(kMaxInFlightPerListener) + 8);
}

TEST(ListenerMemory, AHandlerThatForgotToSayItIsSlowIsHeldUpAlone) {
  if (!UserfaultfdWorks()) GTEST_SKIP() << "no userfaultfd with faults from the kernel";
  Agency agency;
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] {
    const pid_t stuck = fork();
    if (stuck == 0) _exit(syscall(SYS_getppid, 5, StuckPage()) == -1 && errno == EACCES ? 0 : 1);
    int status = 0;
    long calls = 0;
    while (waitpid(stuck, &status, WNOHANG) == 0) {
      if (Call0(calls) != calls) return 10;
      ++calls;
    }
    return status == 0 && calls > 1000 ? 0 : 1;
  });
  (void)agency.Serve(process.TakeListener(), [](Call& call) {
    std::array<char, 64> buffer;
    if (call.request.data.args[1] != 0 &&
        !ReadString(static_cast<pid_t>(call.request.pid), call.request.data.args[1], buffer)) {
      (void)std::move(call.notification).Deny(EACCES);
      return;
    }
    Echo(call);
  });
  EXPECT_EQ(process.Wait(), 0);
}

// --- callers that can't be seen

TEST(Listener, ACallerOutsideOfItsPidNamespaceIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root for a pid namespace";
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] {
    return Call0(1) == -1 && errno == EPERM && Call0(2) == -1 && errno == EPERM ? 0 : 1;
  });
  const pid_t outer = fork();
  if (outer == 0) {
    if (unshare(CLONE_NEWPID) != 0) _exit(kNoUserfaultfd);
    const pid_t inner = fork();
    if (inner == 0) {
      Agency agency;
      bool called = false;
      (void)agency.Serve(process.TakeListener(), [&](Call& call) {
        called = true;
        Echo(call);
      });
      const bool ended = agency.Ended(1);
      const std::vector<AuditRecord> records = agency.audit().records();
      _exit(ended && !called && agency.Sum(&Shard::invisible) == 2 && records.size() == 1 &&
                    records[0].reason == AuditReason::kUnsupported
                ? 0
                : 1);
    }
    int status = -1;
    (void)waitpid(inner, &status, 0);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 99);
  }
  (void)process.TakeListener();  // the last one: the namespace's
  EXPECT_EQ(process.Wait(), 0);
  int status = -1;
  ASSERT_EQ(waitpid(outer, &status, 0), outer);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// --- signals: the kernel takes the call away and notifies it again

TEST(Listener, ACallThatASignalTookAwayComesAgain) {
  Agency agency;
  FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, nullptr);
    const itimerval often{{0, 200}, {0, 200}};
    setitimer(ITIMER_REAL, &often, nullptr);
    for (long i = 0; i < 3000; ++i)
      if (Call0(i) != i) return 1;
    return 0;
  });
  (void)agency.Serve(process.TakeListener(), Echo);
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_TRUE(agency.Ended(1));
  EXPECT_EQ(agency.Sum(&Shard::receive_errors), 0U);
  EXPECT_EQ(agency.Sum(&Shard::received), agency.Sum(&Shard::returned) + agency.Sum(&Shard::gone));
}

}  // namespace
}  // namespace landgate::agent
