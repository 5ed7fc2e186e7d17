#include "agent/handlers/caller.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

namespace landgate::agent {
namespace {

TEST(Caller, StatusOfAThreadInNestedPidNamespaces) {
  const auto caller = ParseStatus(
      "Name:\tTgid:\t7\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t4711\nNgid:\t0\nPid:\t4712\n"
      "NStgid:\t4711\t20\t3\nNSpid:\t4712\t21\t4\nNSpgid:\t1\t1\t1\n");
  ASSERT_TRUE(caller);
  EXPECT_EQ(4711, caller->tgid);
  EXPECT_EQ(3, caller->nspid);
  EXPECT_EQ(4, caller->nstid);
}

TEST(Caller, StatusWithoutNamespaces) {
  const auto caller = ParseStatus("Name:\tsh\nTgid:\t12\nPid:\t12\n");
  ASSERT_TRUE(caller);
  EXPECT_EQ(12, caller->nspid);
}

TEST(Caller, WhatIsNoStatusIsRefused) {
  for (const char* const text : {"", "Tgid:", "Tgid:\t\n", "Tgid:\tx\n", "Tgid:\t12a\n",
                                 " Tgid:\t12\n", "Tgid:\t99999999999\n"})
    EXPECT_FALSE(ParseStatus(text)) << text;
}

TEST(Caller, OfThisThread) {
  std::thread([] {
    (void)prctl(PR_SET_NAME, "a \\n\tname");
    const auto caller = DescribeCaller(gettid());
    ASSERT_TRUE(caller);
    EXPECT_EQ(getpid(), caller->tgid);
    EXPECT_NE(caller->nspid, caller->nstid);
    EXPECT_EQ("a \\n\tname", caller->comm);
    char exe[4096];
    const ssize_t length = readlink("/proc/self/exe", exe, sizeof exe);
    EXPECT_EQ(std::string(exe, static_cast<size_t>(length)), caller->exe);
  }).join();
}

TEST(Caller, OneThatHasEnded) {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  while (waitpid(child, nullptr, 0) < 0) {
  }
  EXPECT_FALSE(DescribeCaller(child));
  EXPECT_FALSE(IdentifyCaller(child));
}

}  // namespace
}  // namespace landgate::agent
