#include "agent/handlers/calls.h"

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <sys/syscall.h>

#include <set>

namespace landgate::agent {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kNative = AUDIT_ARCH_X86_64;
#else
constexpr uint32_t kNative = AUDIT_ARCH_AARCH64;
#endif

TEST(Calls, EveryLineIsFoundByNumberAndName) {
  for (const CallInfo& call : Calls()) {
    EXPECT_EQ(&call, FindCall(kNative, call.number)) << call.name;
    EXPECT_EQ(&call, FindCall(call.name)) << call.name;
  }
}

TEST(Calls, NumbersAndNamesAreUnique) {
  std::set<int> numbers;
  std::set<std::string_view> names;
  for (const CallInfo& call : Calls()) {
    EXPECT_TRUE(numbers.insert(call.number).second) << call.name;
    EXPECT_TRUE(names.insert(call.name).second) << call.name;
  }
}

TEST(Calls, OtherArchitecturesAndNumbersAreNotFound) {
  EXPECT_NE(nullptr, FindCall(kNative, SYS_openat));
  EXPECT_EQ(nullptr, FindCall(AUDIT_ARCH_I386, SYS_openat));
  EXPECT_EQ(nullptr, FindCall(AUDIT_ARCH_ARM, SYS_openat));
  EXPECT_EQ(nullptr, FindCall(kNative, 0x40000000 | SYS_openat));  // x32
  EXPECT_EQ(nullptr, FindCall(kNative, -1));
  EXPECT_EQ(nullptr, FindCall(kNative, 511));
  EXPECT_EQ(nullptr, FindCall(kNative, 512));
  EXPECT_EQ(nullptr, FindCall(kNative, SYS_getppid));
  EXPECT_EQ(nullptr, FindCall("getppid"));
}

TEST(Calls, RolesFitTheCategory) {
  for (const CallInfo& call : Calls()) {
    const Roles& roles = call.roles;
    for (const int8_t role :
         {roles.dirfd, roles.path, roles.second_dirfd, roles.second_path, roles.flags, roles.mode,
          roles.structure, roles.size, roles.descriptor}) {
      EXPECT_GE(role, kAbsent) << call.name;
      EXPECT_LT(role, 6) << call.name;
    }
    const bool files = call.category == Category::kPath || call.category == Category::kExec;
    EXPECT_EQ(files, roles.path != kAbsent) << call.name;
    EXPECT_EQ(call.category == Category::kNetwork, roles.descriptor != kAbsent) << call.name;
    EXPECT_EQ(roles.structure != kAbsent, roles.size != kAbsent) << call.name;
    const bool two = call.kind == CallKind::kRename || call.kind == CallKind::kLink;
    EXPECT_EQ(two, roles.second_path != kAbsent) << call.name;
    EXPECT_EQ(call.kind == CallKind::kAsk, call.category == Category::kMarker) << call.name;
  }
}

// What a container in audit mode has notified.
TEST(Calls, TheAuditSetIsCovered) {
  for (const char* const name : {
         "openat", "openat2", "truncate", "execve", "execveat", "connect", "bind", "mkdirat",
             "unlinkat", "renameat", "renameat2", "linkat", "symlinkat", "mknodat", "nfsservctl",
#if defined(__x86_64__)
             "open", "creat", "mkdir", "rmdir", "unlink", "rename", "link", "symlink", "mknod"
#endif
       }) {
    EXPECT_NE(nullptr, FindCall(name)) << name;
  }
}

}  // namespace
}  // namespace landgate::agent
