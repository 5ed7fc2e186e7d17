#include "agent/notify/process_stat.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace landgate::agent {
namespace {

constexpr std::string_view kTail =
    " 1 42 42 0 -1 4194560 100 0 0 0 0 0 0 0 20 0 1 0 123456 1 2 3 4 5 6 7 8 9 0 0 0 0 17 1 0 0\n";

TEST(ProcessStat, ANameMayLookLikeTheRest) {
  for (const char* name :
       {"sh", "a b", "a) Z 1", "))", ") R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15"}) {
    const auto stat = ParseProcessStat("42 (" + std::string(name) + ") S" + std::string(kTail));
    ASSERT_TRUE(stat) << name;
    EXPECT_EQ(stat->state, 'S') << name;
    EXPECT_EQ(stat->start, 123456u) << name;
  }
}

TEST(ProcessStat, WhatIsCutShortIsNothing) {
  const std::string whole = "42 (sh) S" + std::string(kTail);
  EXPECT_FALSE(ParseProcessStat(""));
  for (size_t length = 0; length < whole.find("123456"); ++length)
    EXPECT_FALSE(ParseProcessStat(std::string_view(whole).substr(0, length))) << length;
}

TEST(ProcessStat, TheStackPointerIsTheLastButOne) {
  EXPECT_EQ(ParseStackPointer("202 0x1 0x2 0x3 0x4 0x5 0x6 0x7ffd33b79688 0x7f5e1cae72ad\n"),
            0x7ffd33b79688u);
  EXPECT_EQ(ParseStackPointer("-1 0x7ffd33b79688 0x7f5e1cae72ad\n"), 0x7ffd33b79688u);
  for (const char* none : {"", "\n", "running\n", "0x1", "a b c", "1 0x 0x2", "1 0xg 0x2"})
    EXPECT_FALSE(ParseStackPointer(none)) << none;
}

TEST(ProcessStat, TellsTheLivingFromTheDead) {
  const auto self = ReadProcessStat(getpid());
  ASSERT_TRUE(self);
  EXPECT_TRUE(IsAlive(getpid(), self->start));
  EXPECT_FALSE(IsAlive(getpid(), self->start + 1)) << "another process with this number";
  const pid_t child = fork();
  if (child == 0) _exit(0);
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  const auto zombie = ReadProcessStat(child);
  ASSERT_TRUE(zombie);
  EXPECT_FALSE(IsAlive(child, zombie->start));
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_FALSE(IsAlive(child, zombie->start));
}

}  // namespace
}  // namespace landgate::agent
