#include "agent/ctl/ctl_probe.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <vector>

#include "agent/ctl/ctl_output.h"
#include "agent/ctl/ctl_subprocess.h"
#include "base/linux_abi.h"
#include "base/syscalls.h"
#include "base/unique_fd.h"

namespace landgate::ctl {
namespace {

std::string Failed(const char* what) { return std::string(what) + ": " + ErrnoText(errno); }

// A call that nothing here uses otherwise, with a harmless result of its own.
constexpr long kTrialCall = SYS_getpgid;
constexpr int kTrialPid = 0x7ffffffe;  // no such process: natively ESRCH
constexpr int kListenerTimeoutMs = 5000;

std::array<sock_filter, 4> TrialFilter(uint32_t action) {
  return {sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
          sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(kTrialCall), 0, 1),
          sock_filter BPF_STMT(BPF_RET | BPF_K, action),
          sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
}

// The new listener, or 0 without one; -1 with errno.
int LoadTrialFilter(uint32_t action, unsigned flags) {
  auto instructions = TrialFilter(action);
  const sock_fprog program{static_cast<unsigned short>(instructions.size()), instructions.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return static_cast<int>(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program));
}

// Answers one notification with `error`. The caller's filter covers us too, so nothing here may
// make the trial call.
std::string AnswerOne(const UniqueFd& listener, int error) {
  seccomp_notif_sizes sizes{};
  if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0)
    return Failed("SECCOMP_GET_NOTIF_SIZES");
  std::vector<char> request(std::max<size_t>(sizes.seccomp_notif, sizeof(seccomp_notif)));
  std::vector<char> response(
      std::max<size_t>(sizes.seccomp_notif_resp, sizeof(seccomp_notif_resp)));
  pollfd ready{listener.get(), POLLIN, 0};
  if (poll(&ready, 1, kListenerTimeoutMs) != 1) return "no notification arrived";
  if (ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_RECV, request.data()) != 0)
    return Failed("receiving a notification");
  seccomp_notif notification{};
  memcpy(&notification, request.data(), sizeof notification);
  seccomp_notif_resp answer{};
  answer.id = notification.id;
  answer.error = -error;
  memcpy(response.data(), &answer, sizeof answer);
  if (ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_SEND, response.data()) != 0)
    return Failed("answering a notification");
  return "";
}

std::string ListenerInChild() {
  const UniqueFd listener(
      LoadTrialFilter(SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER));
  if (!listener.valid()) {
    if (errno == EBUSY) return "another listener is already there: we run under one ourselves";
    return Failed("seccomp(SET_MODE_FILTER, NEW_LISTENER)");
  }
  const pid_t caller = fork();
  if (caller < 0) return Failed("fork");
  if (caller == 0) _exit(syscall(kTrialCall, kTrialPid) == -1 && errno == EXFULL ? 0 : 1);
  std::string failure = AnswerOne(listener, EXFULL);
  if (!failure.empty()) (void)kill(caller, SIGKILL);  // it would wait for an answer for ever
  int status = 0;
  if (waitpid(caller, &status, 0) != caller) return Failed("waitpid");
  if (failure.empty() && status != 0) failure = "the answer did not reach the caller";
  return failure;
}

std::string FilterInChild() {
  if (LoadTrialFilter(SECCOMP_RET_ERRNO | EXFULL, 0) != 0)
    return Failed("seccomp(SET_MODE_FILTER)");
  if (syscall(kTrialCall, kTrialPid) != -1 || errno != EXFULL)
    return "a filter was loaded and did not answer";
  return "";
}

std::string LandlockInChild() {
  const abi::LandlockRulesetAttr attributes{abi::kFsReadFile, 0, 0};
  Result<UniqueFd> ruleset = LandlockCreateRuleset(attributes, sizeof attributes.handled_access_fs);
  if (!ruleset) return ruleset.error().message;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Failed("no_new_privs");
  if (Status restricted = LandlockRestrictSelf(*ruleset, 0); !restricted)
    return restricted.error().message;
  const UniqueFd opened(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  if (opened.valid() || errno != EACCES) return "a domain was applied and did not deny";
  return "";
}

// The mask of a file as a container gets it: /dev/null, cloned, without devices, moved by
// descriptor over a file that every system has.
std::string MountApiInChild() {
  std::array<char, 4096> path{};
  if (readlink("/proc/self/exe", path.data(), path.size() - 1) <= 0)
    return Failed("readlink /proc/self/exe");
  // A rootless engine's hooks run in its user namespace and own the mounts there.
  const int namespaces = geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER;
  if (unshare(namespaces) != 0) return Failed("unshare of a mount namespace");
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return Failed("making mounts private");
  // Opened by its path: the link itself leads to the mount of the namespace that we have left.
  const UniqueFd target(open(path.data(), O_PATH | O_CLOEXEC));
  if (!target.valid()) return Failed(path.data());
  Result<UniqueFd> clone = CloneTree(BorrowedFd(AT_FDCWD), "/dev/null", false);
  if (!clone) return clone.error().message;
  const uint64_t flags =
      abi::kMountAttrRdonly | abi::kMountAttrNosuid | abi::kMountAttrNodev | abi::kMountAttrNoexec;
  if (Status set = MountSetattr(*clone, flags, 0, 0, false); !set) return set.error().message;
  if (Status moved = MoveMountOnto(*clone, target); !moved) return moved.error().message;
  const UniqueFd masked(open(path.data(), O_RDONLY | O_CLOEXEC));
  if (masked.valid() || errno != EACCES) return "a mask was placed and did not deny";
  return "";
}

std::string UserNamespaceInChild() {
  return unshare(CLONE_NEWUSER) == 0 ? "" : Failed("unshare(CLONE_NEWUSER)");
}

}  // namespace

std::string TryLandlock() { return InChild(LandlockInChild); }
std::string TrySeccompFilter() { return InChild(FilterInChild); }
std::string TrySeccompListener() { return InChild(ListenerInChild); }
std::string TryMountApi() { return InChild(MountApiInChild); }
std::string TryUserNamespace() { return InChild(UserNamespaceInChild); }

std::string WhyNoLandlock() {
  constexpr long kLandlockCreateRuleset = 444;
  (void)syscall(kLandlockCreateRuleset, nullptr, 0, abi::kLandlockCreateRulesetVersion);
  switch (errno) {
    case ENOSYS:
      return "this kernel has no Landlock (CONFIG_SECURITY_LANDLOCK, Linux 5.13)";
    case EOPNOTSUPP:
      return "Landlock is built in and was not enabled at boot";
    case EPERM:
      return "a seccomp filter around this process denies Landlock";
    default:
      return "landlock_create_ruleset: " + ErrnoText(errno);
  }
}

}  // namespace landgate::ctl
