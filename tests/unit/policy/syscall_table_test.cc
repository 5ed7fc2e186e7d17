#include "policy/syscall_table.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <regex>
#include <string>
#include <vector>

namespace landgate::policy {
namespace {

TEST(SyscallTableTest, KnowsOldAndNewNames) {
  for (const char* name : {"read",
                           "openat2",
                           "clone3",
                           "io_uring_setup",
                           "landlock_restrict_self",
                           "socketcall",
                           "_llseek",
                           "mmap2",
                           "arm_sync_file_range",
                           "riscv_hwprobe",
                           "s390_sthyi",
                           "umount",
                           "mseal",
                           "cachestat",
                           "futex_wake",
                           "statmount",
                           "listmount",
                           "lsm_get_self_attr",
                           "setxattrat",
                           "open_tree_attr",
                           "file_getattr",
                           "file_setattr",
                           "uretprobe",
                           "fchmodat2"}) {
    EXPECT_TRUE(IsSyscallName(name)) << name;
  }
  for (const char* name : {"", "Read", "openatt", "read ", "__NR_read", "syscalls", "sys_read"}) {
    EXPECT_FALSE(IsSyscallName(name)) << name;
  }
}

// Every name of the kernel headers of the machine that builds this.
TEST(SyscallTableTest, HoldsTheNamesOfTheKernelHeaders) {
  const std::regex define(R"(#\s*define\s+__NR(?:3264)?_(\w+)\s.*)");
  size_t seen = 0;
  for (const char* header :
       {"/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
        "/usr/include/x86_64-linux-gnu/asm/unistd_32.h",
        "/usr/include/aarch64-linux-gnu/asm/unistd_64.h", "/usr/include/asm-generic/unistd.h"}) {
    std::ifstream file(header);
    for (std::string line; std::getline(file, line);) {
      std::smatch match;
      if (!std::regex_match(line, match, define)) continue;
      const std::string name = match[1];
      // Not calls: the end of the table, the base of a range, and spellings of the generic header
      // for calls that have other names on every port.
      if (name == "syscalls" || name == "arch_specific_syscall" || name == "fstatat" ||
          name == "llseek") {
        continue;
      }
      EXPECT_TRUE(IsSyscallName(name)) << name << " of " << header;
      ++seen;
    }
  }
  if (seen == 0) GTEST_SKIP() << "no kernel headers here";
  EXPECT_GT(seen, 300U);
}

TEST(SyscallTableTest, NearestNames) {
  EXPECT_EQ(NearestSyscallName("openatt"), "openat");
  EXPECT_EQ(NearestSyscallName("ptrcae"), "ptrace");
  EXPECT_EQ(NearestSyscallName("unmount2"), "umount2");
  EXPECT_EQ(NearestSyscallName("PTRACE"), "ptrace");
  EXPECT_EQ(NearestSyscallName("completely_different_thing"), "");
  EXPECT_EQ(NearestSyscallName(""), "");
  EXPECT_EQ(NearestSyscallName(std::string(100000, 'a')), "");
}

TEST(SyscallTableTest, Indispensable) {
  for (const char* name :
       {"execve", "exit", "exit_group", "rt_sigreturn", "brk", "mmap", "munmap"}) {
    EXPECT_TRUE(IsIndispensable(name)) << name;
    EXPECT_TRUE(IsSyscallName(name)) << name;
  }
  for (const char* name : {"ptrace", "mount", "execveat", "openat", "socket", ""}) {
    EXPECT_FALSE(IsIndispensable(name)) << name;
  }
}

TEST(SyscallTableTest, TheMountApi) {
  for (std::string_view name : MountApiSyscalls()) {
    EXPECT_TRUE(IsSyscallName(name)) << name;
    EXPECT_FALSE(IsIndispensable(name)) << name;
  }
  for (std::string_view wanted :
       {"open_tree", "open_tree_attr", "open_by_handle_at", "fsopen", "fspick", "fsconfig",
        "fsmount", "move_mount", "mount_setattr", "mount", "umount2", "pivot_root"}) {
    bool found = false;
    for (std::string_view name : MountApiSyscalls()) found = found || name == wanted;
    EXPECT_TRUE(found) << wanted;
  }
  for (std::string_view name : MountApiSyscalls()) EXPECT_NE(name, "setns");
}

}  // namespace
}  // namespace landgate::policy
