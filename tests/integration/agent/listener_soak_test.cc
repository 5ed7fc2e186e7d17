// Many listeners, and for long: memory, threads, descriptors and processor time.
// LANDGATE_SOAK_SECONDS (default 2) is how long the full-speed part runs.
#include <errno.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "agent/notify/memory.h"
#include "tests/agent_support/listener_fixture.h"

namespace landgate::agent {
namespace {

using test::Agency;
using test::FilteredProcess;
using test::Gate;
using Shard = Metrics::Shard;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;  // their shadows are not our memory
constexpr int kMany = 100;
#else
constexpr bool kSanitized = false;
constexpr int kMany = 1000;
#endif
constexpr long kMostKib = 40 * 1024;

// Reads a path and answers by it, as a handler of path calls does.
void ReadAndContinue(Call& call) {
  if (!call.MaySlow()) {
    (void)std::move(call.notification).Deny(EAGAIN);
    return;
  }
  std::array<char, 4096> buffer;
  const auto path =
      ReadString(static_cast<pid_t>(call.request.pid), call.request.data.args[1], buffer);
  if (!path || !call.notification.StillValid()) return;
  if (*path == "/usr/bin/true") {
    (void)std::move(call.notification).Return(7);
  } else {
    (void)std::move(call.notification).Deny(EACCES);
  }
}

long CallWithPath(const char* path) { return syscall(SYS_getppid, 0, path); }

std::chrono::nanoseconds ProcessorTime() {
  timespec used{};
  (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
}

class ListenerSoak : public testing::Test {
 protected:
  void SetUp() override {
    std::thread([] {}).join();  // brings along what a sanitizer adds
    ASSERT_TRUE(test::Eventually([] { return test::CountThreads() <= 2; }));
    threads_ = test::CountThreads();
    descriptors_ = test::CountDescriptors();
    rlimit limit{};
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < 3 * kMany + 100) GTEST_SKIP() << "too few descriptors";
  }
  // Threads of stand-ins and the keeper wait a few seconds for more.
  void ExpectAllBack() const {
    EXPECT_TRUE(test::Eventually([this] { return test::CountThreads() <= threads_; }));
    EXPECT_TRUE(test::Eventually([this] { return test::CountDescriptors() <= descriptors_; }));
    const auto before = ProcessorTime();
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    EXPECT_LT(ProcessorTime() - before, std::chrono::milliseconds(5)) << "something spins";
  }
  int threads_ = 0, descriptors_ = 0;
};

TEST_F(ListenerSoak, AThousandListeners) {
  {
    Agency agency;
    std::vector<FilteredProcess> processes;
    processes.reserve(kMany);
    for (int i = 0; i < kMany; ++i) {
      processes.push_back(FilteredProcess::Start({SYS_getppid}, [] {
        // The copies of the others' descriptors that fork left here.
        (void)close_range(3, ~0U, 0);
        for (int call = 0; call < 20; ++call)
          if (CallWithPath("/usr/bin/true") != 7) return 1;
        return CallWithPath("/usr/bin/false") == -1 && errno == EACCES ? 0 : 2;
      }));
    }
    const long before = test::ResidentKib();
    for (FilteredProcess& process : processes)
      ASSERT_TRUE(agency.Serve(process.TakeListener(), ReadAndContinue));
    const long idle = test::ResidentKib();
    for (FilteredProcess& process : processes) process.Release();
    long most = 0;
    while (agency.metrics().listeners > 0) {
      most = std::max(most, test::ResidentKib());
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    int failed = 0;
    for (FilteredProcess& process : processes) failed += process.Wait() != 0 ? 1 : 0;
    EXPECT_EQ(failed, 0);
    EXPECT_TRUE(agency.Ended(kMany));
    printf("%d listeners: %ld KiB before, %ld idle, %ld at most\n", kMany, before, idle, most);
    if (!kSanitized) {
      EXPECT_LE(idle, kMostKib);
      EXPECT_LE(most, kMostKib);
    }
    EXPECT_EQ(agency.Sum(&Shard::received), uint64_t{kMany} * 21);
    EXPECT_EQ(agency.Sum(&Shard::receive_errors), 0U);
  }
  ExpectAllBack();
}

// All of them have been asked and wait for more: the most that they hold.
TEST_F(ListenerSoak, AThousandListenersThatStayAfterTheirCalls) {
  {
    Agency agency;
    std::vector<FilteredProcess> processes;
    processes.reserve(kMany);
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    UniqueFd read_end(ends[0]), write_end(ends[1]);
    for (int i = 0; i < kMany; ++i) {
      processes.push_back(FilteredProcess::Start({SYS_getppid}, [end = ends[0]] {
        if (dup2(end, 3) != 3) return 3;
        (void)close_range(4, ~0U, 0);
        if (CallWithPath("/usr/bin/true") != 7) return 1;
        char go;
        return read(3, &go, 1) == 0 ? 0 : 2;
      }));
    }
    for (FilteredProcess& process : processes) {
      ASSERT_TRUE(agency.Serve(process.TakeListener(), ReadAndContinue));
      process.Release();
    }
    EXPECT_TRUE(test::Eventually([&] { return agency.Sum(&Shard::returned) == uint64_t{kMany}; }));
    const long all = test::ResidentKib();
    printf("%d listeners after a call each: %ld KiB, %d threads\n", kMany, all,
           test::CountThreads());
    EXPECT_TRUE(kSanitized || all <= kMostKib) << all;
    write_end.Reset();
    int failed = 0;
    for (FilteredProcess& process : processes) failed += process.Wait() != 0 ? 1 : 0;
    EXPECT_EQ(failed, 0);
    EXPECT_TRUE(agency.Ended(kMany));
  }
  ExpectAllBack();
}

TEST_F(ListenerSoak, FullSpeedWithoutGrowing) {
  const char* const option = getenv("LANDGATE_SOAK_SECONDS");
  const std::chrono::milliseconds time =
      option != nullptr ? std::chrono::seconds(atoi(option)) : std::chrono::seconds(2);
  constexpr int kProcesses = 64;
  {
    Agency agency;
    std::vector<FilteredProcess> processes;
    for (int i = 0; i < kProcesses; ++i) {
      processes.push_back(FilteredProcess::Start({SYS_getppid}, [time] {
        (void)close_range(3, ~0U, 0);
        const auto until = std::chrono::steady_clock::now() + time;
        long calls = 0;
        for (; std::chrono::steady_clock::now() < until; ++calls)
          if (CallWithPath("/usr/bin/true") != 7) return 1;
        return calls > 0 ? 0 : 2;
      }));
    }
    for (FilteredProcess& process : processes) {
      ASSERT_TRUE(agency.Serve(process.TakeListener(), ReadAndContinue));
      process.Release();
    }
    std::this_thread::sleep_for(time / 4);
    const long early = test::ResidentKib();
    std::this_thread::sleep_for(time / 2);
    const long late = test::ResidentKib();
    int failed = 0;
    for (FilteredProcess& process : processes) failed += process.Wait() != 0 ? 1 : 0;
    EXPECT_EQ(failed, 0);
    printf("%d processes: %ld KiB early, %ld late, %lu calls\n", kProcesses, early, late,
           static_cast<unsigned long>(agency.Sum(&Shard::returned)));
    // A stand-in more or less.
    EXPECT_TRUE(kSanitized || late <= early + 1024) << early << " and then " << late;
  }
  ExpectAllBack();
}

}  // namespace
}  // namespace landgate::agent
