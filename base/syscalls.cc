#include "base/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

namespace landgate {
namespace {

Result<UniqueFd> FdOrError(const char* what, long result) {
  if (result < 0) return SystemError(what, errno);
  return UniqueFd(static_cast<int>(result));
}

Status OkOrError(const char* what, long result) {
  if (result < 0) return SystemError(what, errno);
  return {};
}

}  // namespace

Result<UniqueFd> Openat2(BorrowedFd dir, const char* path, uint64_t flags, uint64_t mode,
                         uint64_t resolve) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.mode = mode;
  how.resolve = resolve;
  long fd;
  // EAGAIN: a rename or mount raced with a scoped lookup; the man page says to retry.
  for (int attempt = 0; attempt < 128; ++attempt) {
    fd = syscall(SYS_openat2, dir.get(), path, &how, sizeof how);
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) break;
  }
  return FdOrError(path, fd);
}

int LandlockAbi() {
  const long version =
      syscall(SYS_landlock_create_ruleset, nullptr, 0, abi::kLandlockCreateRulesetVersion);
  return version < 0 ? 0 : static_cast<int>(version);
}

Result<UniqueFd> LandlockCreateRuleset(const abi::LandlockRulesetAttr& attr, size_t attr_size) {
  return FdOrError("landlock_create_ruleset",
                   syscall(SYS_landlock_create_ruleset, &attr, attr_size, 0));
}

Status LandlockAddPathRule(BorrowedFd ruleset, BorrowedFd parent, uint64_t rights) {
  const abi::LandlockPathBeneathAttr attr{rights, parent.get()};
  return OkOrError("landlock_add_rule", syscall(SYS_landlock_add_rule, ruleset.get(),
                                                abi::kLandlockRulePathBeneath, &attr, 0));
}

Status LandlockAddPortRule(BorrowedFd ruleset, uint16_t port, uint64_t rights) {
  const abi::LandlockNetPortAttr attr{rights, port};
  return OkOrError("landlock_add_rule", syscall(SYS_landlock_add_rule, ruleset.get(),
                                                abi::kLandlockRuleNetPort, &attr, 0));
}

Status LandlockRestrictSelf(BorrowedFd ruleset, uint32_t flags) {
  return OkOrError("landlock_restrict_self",
                   syscall(SYS_landlock_restrict_self, ruleset.get(), flags));
}

Result<UniqueFd> CloneTree(BorrowedFd dir, const char* path, bool recursive) {
  unsigned flags =
      abi::kOpenTreeClone | static_cast<unsigned>(O_CLOEXEC) | AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
  if (recursive) flags |= abi::kAtRecursive;
  return FdOrError("open_tree", syscall(SYS_open_tree, dir.get(), path, flags));
}

Status MoveMountOnto(BorrowedFd mount, BorrowedFd target) {
  return OkOrError("move_mount", syscall(SYS_move_mount, mount.get(), "", target.get(), "",
                                         abi::kMoveMountFEmptyPath | abi::kMoveMountTEmptyPath));
}

Status MountSetattr(BorrowedFd mount, uint64_t set, uint64_t clear, uint64_t propagation,
                    bool recursive) {
  abi::MountAttr attr{set, clear, propagation, 0};
  const unsigned flags = AT_EMPTY_PATH | (recursive ? abi::kAtRecursive : 0U);
  return OkOrError("mount_setattr",
                   syscall(SYS_mount_setattr, mount.get(), "", flags, &attr, sizeof attr));
}

Result<UniqueFd> NewTmpfs(std::string_view options) {
  const long context = syscall(SYS_fsopen, "tmpfs", abi::kFsopenCloexec);
  if (context < 0) return SystemError("fsopen tmpfs", errno);
  const UniqueFd owned(static_cast<int>(context));
  while (!options.empty()) {
    const size_t comma = options.find(',');
    const std::string pair(options.substr(0, comma));
    options = comma == std::string_view::npos ? "" : options.substr(comma + 1);
    const size_t equals = pair.find('=');
    const std::string key = pair.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : pair.substr(equals + 1);
    if (syscall(SYS_fsconfig, owned.get(), abi::kFsconfigSetString, key.c_str(), value.c_str(), 0) <
        0) {
      return SystemError("fsconfig tmpfs " + pair, errno);
    }
  }
  if (syscall(SYS_fsconfig, owned.get(), abi::kFsconfigCmdCreate, nullptr, nullptr, 0) < 0) {
    return SystemError("fsconfig tmpfs create", errno);
  }
  return FdOrError("fsmount", syscall(SYS_fsmount, owned.get(), abi::kFsmountCloexec, 0));
}

Result<UniqueFd> PidfdOpen(pid_t pid) {
  return FdOrError("pidfd_open", syscall(SYS_pidfd_open, pid, 0));
}

Result<UniqueFd> PidfdGetfd(BorrowedFd pidfd, int fd) {
  return FdOrError("pidfd_getfd", syscall(SYS_pidfd_getfd, pidfd.get(), fd, 0));
}

Status PidfdSendSignal(BorrowedFd pidfd, int signal) {
  return OkOrError("pidfd_send_signal",
                   syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0));
}

Result<UniqueFd> SeccompNewListener(const sock_fprog& program, unsigned long flags) {
  return FdOrError("seccomp", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                                      SECCOMP_FILTER_FLAG_NEW_LISTENER | flags, &program));
}

Result<seccomp_notif_sizes> SeccompNotifySizes() {
  seccomp_notif_sizes sizes{};
  if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0)
    return SystemError("SECCOMP_GET_NOTIF_SIZES", errno);
  return sizes;
}

Status SeccompSetSyncWakeUp(BorrowedFd listener) {
  return OkOrError("SECCOMP_IOCTL_NOTIF_SET_FLAGS",
                   ioctl(listener.get(), abi::kSeccompNotifSetFlags, abi::kSeccompFdSyncWakeUp));
}

int SeccompReceive(BorrowedFd listener, void* notification) {
  return ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_RECV, notification) < 0 ? errno : 0;
}

int SeccompRespond(BorrowedFd listener, const seccomp_notif_resp& response) {
  return ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_SEND, &response) < 0 ? errno : 0;
}

int SeccompIdValid(BorrowedFd listener, uint64_t id) {
  return ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) < 0 ? errno : 0;
}

int SeccompAddFd(BorrowedFd listener, const seccomp_notif_addfd& request) {
  const int number = ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &request);
  return number < 0 ? -errno : number;
}

}  // namespace landgate
