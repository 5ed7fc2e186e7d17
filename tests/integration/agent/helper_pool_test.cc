// Helpers as processes: they answer, outlive, are counted, and leave nothing behind.
#include "agent/helper/helper_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <thread>

#include "agent/limits.h"
#include "agent/notify/process_stat.h"
#include "base/files.h"
#include "tests/agent_support/agent_program.h"
#include "tests/agent_support/child.h"

namespace landgate::agent {
namespace {

using namespace std::chrono_literals;

int64_t Length(const OperationInput& input) { return static_cast<int64_t>(input.bytes.size()); }
int64_t Fails(const OperationInput&) { return -EXDEV; }
int64_t WhoAmI(const OperationInput&) { return getpid(); }
int64_t Dies(const OperationInput&) { return raise(SIGKILL); }
int64_t ChangesUmask(const OperationInput&) { return umask(0123); }
// How many descriptors it has got, if each can be read.
int64_t ReadsAll(const OperationInput& input) {
  for (const UniqueFd& fd : input.fds) {
    char byte;
    if (pread(fd.get(), &byte, 1, 0) != 1) return -errno;
  }
  return static_cast<int64_t>(input.fds.size());
}
int64_t OpenDescriptors(const OperationInput&) {
  int64_t count = 0;
  for (int fd = 0; fd < 1024; ++fd) count += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}
// Says 'b' for begun, waits until it hears something, says 'e'.
int64_t WaitsForAByte(const OperationInput& input) {
  char byte = 'b';
  if (write(input.fds[0].get(), &byte, 1) != 1) return -errno;
  if (read(input.fds[0].get(), &byte, 1) != 1) return -EPIPE;
  byte = 'e';
  if (write(input.fds[0].get(), &byte, 1) != 1) return -errno;
  return getpid();
}

constexpr std::array<NamedOperation, 8> kOperations = {{
    {"length", Length},
    {"fails", Fails},
    {"who am I", WhoAmI},
    {"dies", Dies},
    {"umask", ChangesUmask, /*spends_helper=*/true},
    {"reads all", ReadsAll},
    {"open descriptors", OpenDescriptors},
    {"waits", WaitsForAByte},
}};

HelperPool::Options TestOptions() {
  return {.command = {test::kThisProgram, "helper"}, .operations = kOperations};
}

int64_t RunOrError(HelperPool& pool, std::string_view operation, std::string_view bytes = {},
                   std::span<const BorrowedFd> fds = {}) {
  const Result<int64_t> value = pool.Run({.operation = operation, .bytes = bytes, .fds = fds}, 30s);
  return value ? *value : -1000 - value.error().error_number;
}

TEST(HelperPool, PerformsAndAnswers) {
  HelperPool pool(TestOptions());
  EXPECT_EQ(RunOrError(pool, "length", "four"), 4);
  EXPECT_EQ(RunOrError(pool, "length", std::string(kMaxHelperRequestBytes, 'x')),
            static_cast<int64_t>(kMaxHelperRequestBytes));
  EXPECT_EQ(RunOrError(pool, "length", std::string(kMaxHelperRequestBytes + 1, 'x')),
            -1000 - E2BIG);
  EXPECT_EQ(RunOrError(pool, "fails"), -EXDEV);
  EXPECT_FALSE(pool.Run({.operation = "unheard of", .bytes = {}, .fds = {}}, 30s));
  const int64_t helper = RunOrError(pool, "who am I");
  EXPECT_NE(helper, getpid());
  EXPECT_EQ(RunOrError(pool, "who am I"), helper) << "used again";
  EXPECT_EQ(getsid(static_cast<pid_t>(helper)), getsid(0)) << "no leader of a session";
  EXPECT_NE(getpgid(static_cast<pid_t>(helper)), getpgid(0));
}

TEST(HelperPool, DescriptorsGoWithTheRequestAndEndWithIt) {
  HelperPool pool(TestOptions());
  const UniqueFd memfd(memfd_create("x", MFD_CLOEXEC));
  ASSERT_TRUE(WriteAll(memfd, "x"));
  const int64_t before = RunOrError(pool, "open descriptors");
  EXPECT_EQ(before, 4) << "streams and the channel";
  const std::vector<BorrowedFd> many(kMaxHelperFds, memfd);
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(RunOrError(pool, "reads all", {}, many), static_cast<int64_t>(kMaxHelperFds));
  EXPECT_EQ(RunOrError(pool, "open descriptors"), before);
}

TEST(HelperPool, OneThatDiesInTheMiddleIsEioAndTheNextIsFine) {
  HelperPool pool(TestOptions());
  EXPECT_EQ(RunOrError(pool, "dies"), -1000 - EIO);
  EXPECT_EQ(RunOrError(pool, "length", "four"), 4);
  // Killed while it had nothing to do.
  ASSERT_EQ(kill(static_cast<pid_t>(RunOrError(pool, "who am I")), SIGKILL), 0);
  for (int i = 0; i < 3; ++i) {
    const int64_t length = RunOrError(pool, "length", "four");
    EXPECT_TRUE(length == 4 || length == -1000 - EIO) << length;
  }
  EXPECT_EQ(RunOrError(pool, "length", "four"), 4);
}

TEST(HelperPool, AHelperThatIsNoLongerWhatItWasIsNotUsedAgain) {
  HelperPool pool(TestOptions());
  const int64_t first = RunOrError(pool, "umask");
  for (int i = 0; i < 5; ++i) EXPECT_EQ(RunOrError(pool, "umask"), first);
}

TEST(HelperPool, WhoeverIsSlowDoesNotDelayOthersAndIsCountedWithItsOwner) {
  HelperPool pool(TestOptions());
  std::vector<UniqueFd> near_ends;
  std::vector<std::thread> waiting;
  std::atomic<int> finished{0};
  const auto begin = [&] {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    near_ends.emplace_back(ends[0]);
    waiting.emplace_back([&pool, &finished, far = UniqueFd(ends[1])] {
      const BorrowedFd fds[] = {far};
      const auto value = pool.Run({.operation = "waits", .bytes = {}, .fds = fds, .owner = 1}, 60s);
      EXPECT_TRUE(value) << value.error().message;
      ++finished;
    });
    char byte = 0;
    ASSERT_EQ(read(ends[0], &byte, 1), 1);
    ASSERT_EQ(byte, 'b');
  };
  for (size_t i = 0; i < kMaxHelpersPerOwner; ++i) begin();
  const auto one_more = pool.Run({.operation = "length", .bytes = {}, .fds = {}, .owner = 1}, 30s);
  ASSERT_FALSE(one_more);
  EXPECT_EQ(one_more.error().error_number, EAGAIN);
  EXPECT_TRUE(pool.Run({.operation = "length", .bytes = {}, .fds = {}, .owner = 2}, 30s));
  EXPECT_EQ(finished, 0);
  for (const UniqueFd& end : near_ends) ASSERT_EQ(write(end.get(), "x", 1), 1);
  for (std::thread& thread : waiting) thread.join();
  EXPECT_TRUE(pool.Run({.operation = "length", .bytes = {}, .fds = {}, .owner = 1}, 30s));
  // All but a few have ended, and none is left as a zombie.
  size_t children = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    const std::string list = ReadFile(entry.path() / "children").value_or("");
    for (const char c : list) children += c == ' ' ? 1 : 0;
  }
  EXPECT_LE(children, kIdleHelpers);
}

TEST(HelperPool, NobodyWaitsLongerThanHeWantsAndTheHelperComesBack) {
  HelperPool pool(TestOptions());
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd near_end(ends[0]);
  {
    const UniqueFd far(ends[1]);
    const BorrowedFd fds[] = {far};
    const auto value = pool.Run({.operation = "waits", .bytes = {}, .fds = fds}, 50ms);
    ASSERT_FALSE(value);
    EXPECT_EQ(value.error().error_number, ETIMEDOUT);
  }
  char byte = 0;
  ASSERT_EQ(read(near_end.get(), &byte, 1), 1);
  const int64_t other = RunOrError(pool, "who am I");
  ASSERT_GT(other, 0) << "while the first one is still about it";
  ASSERT_EQ(write(near_end.get(), "x", 1), 1);
  ASSERT_EQ(read(near_end.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'e') << "it went on";
}

TEST(HelperPool, OutlivesItsRequesterAndFinishesThenEnds) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd near_end(ends[0]);
  test::Child requester = test::Child::Start([&](const test::Child::Mouth&) {
    HelperPool pool(TestOptions());
    const BorrowedFd fds[] = {BorrowedFd(ends[1])};
    (void)pool.Run({.operation = "waits", .bytes = {}, .fds = fds}, 60s);
    return 0;
  });
  close(ends[1]);
  char byte = 0;
  ASSERT_EQ(read(near_end.get(), &byte, 1), 1);
  ASSERT_EQ(byte, 'b');
  requester.Kill();
  ASSERT_EQ(write(near_end.get(), "x", 1), 1);
  ASSERT_EQ(read(near_end.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'e');
  EXPECT_EQ(read(near_end.get(), &byte, 1), 0) << "its end of the socket: it has gone";
}

TEST(HelperPool, AProgramThatIsNotThereIsAnError) {
  HelperPool pool({.command = {"/no/such/program", "helper"}, .operations = kOperations});
  EXPECT_EQ(RunOrError(pool, "length"), -1000 - ENOENT);
}

}  // namespace
}  // namespace landgate::agent

LANDGATE_AGENT_TEST_MAIN(landgate::agent::kOperations)
