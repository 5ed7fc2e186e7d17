#include "agent/handlers/calls.h"

#include <linux/audit.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>

namespace landgate::agent {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kNativeArch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kNativeArch = AUDIT_ARCH_AARCH64;
#else
#error "the agent knows the system calls of x86_64 and aarch64"
#endif

constexpr auto kPath = Category::kPath;
constexpr auto kExec = Category::kExec;
constexpr auto kNetwork = Category::kNetwork;

constexpr std::array kCalls = {
#ifdef SYS_open
    CallInfo{"open", SYS_open, kPath, CallKind::kOpen, {.path = 0, .flags = 1, .mode = 2}},
#endif
    CallInfo{"openat",
             SYS_openat,
             kPath,
             CallKind::kOpen,
             {.dirfd = 0, .path = 1, .flags = 2, .mode = 3}},
    CallInfo{"openat2",
             SYS_openat2,
             kPath,
             CallKind::kOpenHow,
             {.dirfd = 0, .path = 1, .structure = 2, .size = 3}},
#ifdef SYS_creat
    CallInfo{"creat", SYS_creat, kPath, CallKind::kCreat, {.path = 0, .mode = 1}},
#endif
    CallInfo{"truncate", SYS_truncate, kPath, CallKind::kTruncate, {.path = 0}},
#ifdef SYS_mkdir
    CallInfo{"mkdir", SYS_mkdir, kPath, CallKind::kMakeDirectory, {.path = 0, .mode = 1}},
#endif
    CallInfo{"mkdirat",
             SYS_mkdirat,
             kPath,
             CallKind::kMakeDirectory,
             {.dirfd = 0, .path = 1, .mode = 2}},
#ifdef SYS_mknod
    CallInfo{"mknod", SYS_mknod, kPath, CallKind::kMakeNode, {.path = 0, .mode = 1}},
#endif
    CallInfo{
        "mknodat", SYS_mknodat, kPath, CallKind::kMakeNode, {.dirfd = 0, .path = 1, .mode = 2}},
// The first argument is the text of the link and names nothing yet.
#ifdef SYS_symlink
    CallInfo{"symlink", SYS_symlink, kPath, CallKind::kMakeSymlink, {.path = 1}},
#endif
    CallInfo{"symlinkat", SYS_symlinkat, kPath, CallKind::kMakeSymlink, {.dirfd = 1, .path = 2}},
#ifdef SYS_unlink
    CallInfo{"unlink", SYS_unlink, kPath, CallKind::kRemoveFile, {.path = 0}},
#endif
    CallInfo{
        "unlinkat", SYS_unlinkat, kPath, CallKind::kUnlink, {.dirfd = 0, .path = 1, .flags = 2}},
#ifdef SYS_rmdir
    CallInfo{"rmdir", SYS_rmdir, kPath, CallKind::kRemoveDirectory, {.path = 0}},
#endif
#ifdef SYS_rename
    CallInfo{"rename", SYS_rename, kPath, CallKind::kRename, {.path = 0, .second_path = 1}},
#endif
    CallInfo{"renameat",
             SYS_renameat,
             kPath,
             CallKind::kRename,
             {.dirfd = 0, .path = 1, .second_dirfd = 2, .second_path = 3}},
    CallInfo{"renameat2",
             SYS_renameat2,
             kPath,
             CallKind::kRename,
             {.dirfd = 0, .path = 1, .second_dirfd = 2, .second_path = 3, .flags = 4}},
#ifdef SYS_link
    CallInfo{"link", SYS_link, kPath, CallKind::kLink, {.path = 0, .second_path = 1}},
#endif
    CallInfo{"linkat",
             SYS_linkat,
             kPath,
             CallKind::kLink,
             {.dirfd = 0, .path = 1, .second_dirfd = 2, .second_path = 3, .flags = 4}},
    CallInfo{"execve", SYS_execve, kExec, CallKind::kExecute, {.path = 0}},
    CallInfo{
        "execveat", SYS_execveat, kExec, CallKind::kExecute, {.dirfd = 0, .path = 1, .flags = 4}},
    CallInfo{"connect",
             SYS_connect,
             kNetwork,
             CallKind::kConnect,
             {.structure = 1, .size = 2, .descriptor = 0}},
    CallInfo{
        "bind", SYS_bind, kNetwork, CallKind::kBind, {.structure = 1, .size = 2, .descriptor = 0}},
    CallInfo{"nfsservctl", SYS_nfsservctl, Category::kMarker, CallKind::kAsk, {}},
};

constexpr size_t kNumbers = 512;  // both tables end below; a line beyond it does not compile
constexpr uint8_t kNone = 0xff;
static_assert(kCalls.size() < kNone);

constexpr std::array<uint8_t, kNumbers> kByNumber = [] {
  std::array<uint8_t, kNumbers> index{};
  for (uint8_t& entry : index) entry = kNone;
  for (size_t i = 0; i < kCalls.size(); ++i) {
    index.at(static_cast<size_t>(kCalls[i].number)) = static_cast<uint8_t>(i);
  }
  return index;
}();

}  // namespace

std::span<const CallInfo> Calls() { return kCalls; }

const CallInfo* FindCall(uint32_t arch, int number) {
  // x32 calls come with the same architecture and bit 30 set, far beyond the table.
  if (arch != kNativeArch || number < 0 || static_cast<size_t>(number) >= kNumbers) return nullptr;
  const uint8_t index = kByNumber[static_cast<size_t>(number)];
  return index == kNone ? nullptr : &kCalls[index];
}

const CallInfo* FindCall(std::string_view name) {
  const auto found = std::find_if(kCalls.begin(), kCalls.end(),
                                  [name](const CallInfo& call) { return call.name == name; });
  return found == kCalls.end() ? nullptr : &*found;
}

}  // namespace landgate::agent
