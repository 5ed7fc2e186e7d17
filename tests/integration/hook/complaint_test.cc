// A refusal reaches the person at the engine also where the engine gives hooks no stderr.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "base/files.h"

namespace landgate::hook {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

struct Heard {
  std::string by_starter;  // what arrived on the stderr of the program that starts the hook
  int status = -1;
};

// A starter with a pipe for stderr runs `landgate-hook precreate`, whose own stderr is /dev/null.
Heard RunHook(const std::string& config) {
  int said[2];
  int input[2];
  EXPECT_EQ(pipe2(said, O_CLOEXEC), 0);
  EXPECT_EQ(pipe2(input, O_CLOEXEC), 0);
  const pid_t starter = fork();
  if (starter == 0) {
    close(input[1]);  // or the hook's stdin would never end
    dup2(said[1], STDERR_FILENO);
    const pid_t hook = fork();
    if (hook == 0) {
      const int null = open("/dev/null", O_RDWR);
      dup2(input[0], STDIN_FILENO);
      dup2(null, STDOUT_FILENO);
      dup2(null, STDERR_FILENO);
      execl(LANDGATE_BIN_DIR "/landgate-hook", "landgate-hook", "precreate", nullptr);
      _exit(99);
    }
    int status = 0;
    waitpid(hook, &status, 0);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 98);
  }
  close(said[1]);
  close(input[0]);
  EXPECT_TRUE(WriteAll(BorrowedFd(input[1]), config));
  close(input[1]);
  Heard heard;
  heard.by_starter = ReadAll(BorrowedFd(said[0])).value_or("");
  close(said[0]);
  int status = 0;
  waitpid(starter, &status, 0);
  heard.status = WEXITSTATUS(status);
  return heard;
}

// What an image or an annotation names must not steer the terminal of whoever starts it.
TEST(Complaint, IsOneLineOfText) {
  if (geteuid() != 0) GTEST_SKIP() << "taking the starter's stderr needs the right to trace it";
  const Heard heard = RunHook(
      "{\"annotations\":{\"io.landgate.\\u001b[2J\\u009b1m\\nlandgate-hook: fine\":\"x\"}}");
  EXPECT_EQ(heard.status, 1);
  EXPECT_THAT(heard.by_starter, HasSubstr("\\x1b[2J\\xc2\\x9b1m\\x0alandgate-hook: fine"));
  EXPECT_EQ(heard.by_starter.find('\n'), heard.by_starter.size() - 1);
}

TEST(Complaint, IsHeardByTheStarterWhereTheHookHasNoStderr) {
  if (geteuid() != 0) GTEST_SKIP() << "taking the starter's stderr needs the right to trace it";
  const Heard refused = RunHook(R"({"ociVersion":"1.0.2","process":{"args":["/bin/true"]},
      "annotations":{"io.landgate.polcy":"x"}})");
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.by_starter, HasSubstr("landgate-hook: "));
  EXPECT_THAT(refused.by_starter, HasSubstr("io.landgate.polcy"));

  const Heard passed = RunHook(R"({"ociVersion":"1.0.2","process":{"args":["/bin/true"]}})");
  EXPECT_EQ(passed.status, 0);
  EXPECT_THAT(passed.by_starter, IsEmpty());
}

}  // namespace
}  // namespace landgate::hook
