#include "agent/server/confine_self.h"

#include <linux/capability.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <memory>
#include <string>

#include "base/files.h"
#include "base/paths.h"
#include "sandbox/capabilities.h"

namespace landgate::agent {
namespace {

constexpr CapabilitySet Bit(int capability) { return CapabilitySet{1} << capability; }

// To add one: here, with its reason in docs/agent.md.
constexpr CapabilitySet kNeeded =
    Bit(CAP_SYS_PTRACE) |       // memory, /proc/PID/{exe,root,mem} of processes of other users
    Bit(CAP_DAC_READ_SEARCH) |  // names in containers' directories that only their users may enter
    Bit(CAP_KILL) |             // an exec session that runs anything but the launcher
    Bit(CAP_SYS_ADMIN) |        // setns, masks that are put back, the over-mount that is removed
    Bit(CAP_SYS_CHROOT) |       // setns of a mount namespace
    Bit(CAP_SYS_RESOURCE);      // for the holder (holder_confine.h), which has no other

// Every call that the agent, its libraries, its holder and its helpers make. What is not here:
// tracing, modules, bpf, io_uring, keys, perf, userfaultfd, the clock, mounts by name,
// open_by_handle_at, writing another process's memory but through /proc/PID/mem.
constexpr const char* kAllowed[] = {
    // memory
    "brk",
    "mmap",
    "munmap",
    "mprotect",
    "mremap",
    "madvise",
    "memfd_create",
    // threads and signals
    "clone",
    "clone3",
    "set_robust_list",
    "get_robust_list",
    "rseq",
    "set_tid_address",
    "futex",
    "futex_waitv",
    "sched_yield",
    "sched_getaffinity",
    "sched_setaffinity",
    "membarrier",
    "gettid",
    "tgkill",
    "exit",
    "exit_group",
    "prctl",
    "arch_prctl",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigtimedwait",
    "sigaltstack",
    "restart_syscall",
    "pause",
    // processes: a holder, helpers, sessions that must be killed
    "fork",
    "vfork",
    "execve",
    "execveat",
    "wait4",
    "waitid",
    "kill",
    "pidfd_open",
    "pidfd_send_signal",
    "pidfd_getfd",
    "setsid",
    "setpgid",
    "getpgid",
    "getpgrp",
    "getsid",
    "getpid",
    "getppid",
    "umask",
    "prlimit64",
    "getrlimit",
    "setrlimit",
    "getpriority",
    "setpriority",
    "getrusage",
    "times",
    // descriptors and files
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "preadv",
    "pwritev",
    "open",
    "openat",
    "openat2",
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "lseek",
    "stat",
    "lstat",
    "fstat",
    "newfstatat",
    "statx",
    "statfs",
    "fstatfs",
    "readlink",
    "readlinkat",
    "access",
    "faccessat",
    "faccessat2",
    "getdents64",
    "fcntl",
    "flock",
    "ftruncate",
    "fallocate",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "chmod",
    "fchmod",
    "fchmodat",
    "chown",
    "lchown",
    "fchown",
    "fchownat",
    "utimensat",
    "getcwd",
    "chdir",
    "fchdir",
    "ioctl",
    "pipe",
    "pipe2",
    "sendfile",
    "copy_file_range",
    // waiting and time
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "eventfd2",
    "timerfd_create",
    "timerfd_settime",
    "timerfd_gettime",
    "signalfd4",
    "inotify_init1",
    "inotify_add_watch",
    "inotify_rm_watch",
    "nanosleep",
    "clock_nanosleep",
    "clock_gettime",
    "clock_getres",
    "gettimeofday",
    "time",
    // sockets
    "socket",
    "socketpair",
    "bind",
    "listen",
    "accept",
    "accept4",
    "connect",
    "getsockname",
    "getpeername",
    "sendto",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "sendmmsg",
    "recvmmsg",
    "setsockopt",
    "getsockopt",
    "shutdown",
    // the workload's memory; its mounts by descriptor; a helper's namespaces and confinement
    "process_vm_readv",
    "setns",
    "unshare",
    "chroot",
    "open_tree",
    "move_mount",
    "mount_setattr",
    "umount2",
    "fsopen",
    "fsconfig",
    "fsmount",
    "landlock_create_ruleset",
    "landlock_add_rule",
    "landlock_restrict_self",
    "seccomp",
    "capget",
    "capset",
    // who and where
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getresuid",
    "getresgid",
    "getgroups",
    "uname",
    "sysinfo",
    "getrandom",
    "getcpu",
};

Status CheckIfThere(const std::string& directory) {
  Status checked = CheckTrustedDirectory(directory, geteuid());
  if (!checked && checked.error().error_number == ENOENT) return {};
  return checked;
}

}  // namespace

Status CheckOwnDirectories(const node::Config& config) {
  for (const std::string& directory : config.policy_dirs) {
    if (Status ok = CheckIfThere(directory); !ok) return Context("policyDirs", ok);
  }
  for (const std::string* path :
       {&config.agent_socket, &config.control_socket, &config.holder_socket}) {
    if (Status ok = CheckIfThere(std::string(Parent(*path))); !ok) return Context(*path, ok);
  }
  return {};
}

CapabilitySet NeededCapabilities() { return kNeeded; }

Status DropPrivileges() {
  // First: with it the bounding set can give nothing, where it can't be reduced.
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return SystemError("no_new_privs", errno);
  if (Status reduced = sandbox::ReduceCapabilities(kNeeded); !reduced) {
    return Context("the agent's own capabilities", reduced);
  }
  return {};
}

Status LoadOwnFilter() {
  const std::unique_ptr<void, void (*)(void*)> filter(seccomp_init(SCMP_ACT_ERRNO(EPERM)),
                                                      [](void* owned) { seccomp_release(owned); });
  if (!filter) return SystemError("the agent's own filter", ENOMEM);
  // A tree instead of a list; kernels since 5.11 remember calls that are always allowed anyway.
  (void)seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
  for (const char* name : kAllowed) {
    const int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR || number < 0) continue;  // not on this architecture
    const int failed = seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, number, 0);
    if (failed != 0) return SystemError("the agent's own filter: " + std::string(name), -failed);
  }
  const int failed = seccomp_load(filter.get());
  if (failed != 0) return SystemError("loading the agent's own filter", -failed);
  return {};
}

size_t DescriptorLimit() {
  rlimit limit{};
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

void IgnoreWriteSignals() {
  (void)std::signal(SIGPIPE, SIG_IGN);
  (void)std::signal(SIGXFSZ, SIG_IGN);
}

}  // namespace landgate::agent
