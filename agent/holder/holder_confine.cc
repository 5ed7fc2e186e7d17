#include "agent/holder/holder_confine.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <iterator>
#include <memory>

namespace landgate::agent {
namespace {

// Names and not numbers: an architecture that lacks one has another of the list in its place.
constexpr const char* kLoopCalls[] = {
    "epoll_wait", "epoll_pwait", "epoll_pwait2", "epoll_ctl",   // waiting
    "accept4",    "recvmsg",     "sendmsg",      "getsockopt",  // peers
    "pidfd_open", "poll",        "ppoll",                       // and whether they live
    "read",                                                     // the signalfd
    "fcntl",      "close",                                      // descriptors
    "prlimit64",  "getrlimit",                                  // how many there may be
    "geteuid",
};
constexpr const char* kLibraryCalls[] = {
    "brk",          "mmap",           "munmap",          "mremap",       "madvise",
    "mprotect",     "futex",          "clock_gettime",   "gettimeofday", "getrandom",
    "rt_sigreturn", "rt_sigprocmask", "restart_syscall", "sigaltstack",  "exit",
    "exit_group",   "write",          "writev",          "getpid",       "gettid",
    "tgkill",       "rt_sigaction",   "sched_yield",     "close_range",
};

struct ReleaseFilter {
  void operator()(void* filter) const { seccomp_release(filter); }
};

Status AllowCall(scmp_filter_ctx filter, const char* name) {
  const int number = seccomp_syscall_resolve_name(name);
  if (number == __NR_SCMP_ERROR || number < 0) return {};  // not on this architecture
  const int failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
  if (failed != 0 && failed != -EEXIST)
    return SystemError("a rule of the holder's filter", -failed);
  return {};
}

Status LoadFilter(bool owns_socket_path) {
  const std::unique_ptr<void, ReleaseFilter> filter(seccomp_init(SCMP_ACT_ERRNO(EPERM)));
  if (!filter) return SystemError("the holder's filter", ENOMEM);
  for (const char* name : kLoopCalls)
    if (Status allowed = AllowCall(filter.get(), name); !allowed) return allowed;
  for (const char* name : kLibraryCalls)
    if (Status allowed = AllowCall(filter.get(), name); !allowed) return allowed;
  if (owns_socket_path) {
    for (const char* name : {"unlink", "unlinkat"})
      if (Status allowed = AllowCall(filter.get(), name); !allowed) return allowed;
  }
  const int failed = seccomp_load(filter.get());
  if (failed != 0) return SystemError("loading the holder's filter", -failed);
  return {};
}

Status DropCapabilities() {
  const std::unique_ptr<_cap_struct, int (*)(void*)> have(cap_get_proc(), cap_free);
  const std::unique_ptr<_cap_struct, int (*)(void*)> keep(cap_init(), cap_free);
  if (!have || !keep) return SystemError("the holder's capabilities", ENOMEM);
  const cap_value_t resource = CAP_SYS_RESOURCE;
  cap_flag_value_t permitted = CAP_CLEAR;
  if (cap_get_flag(have.get(), resource, CAP_PERMITTED, &permitted) == 0 && permitted == CAP_SET) {
    (void)cap_set_flag(keep.get(), CAP_PERMITTED, 1, &resource, CAP_SET);  // a valid name and flag
    (void)cap_set_flag(keep.get(), CAP_EFFECTIVE, 1, &resource, CAP_SET);
  }
  // The bounding set first, while CAP_SETPCAP is there; without it no_new_privs makes it moot.
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability)
    (void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);  // EINVAL before Linux 4.3
  if (cap_set_proc(keep.get()) < 0) return SystemError("dropping the holder's capabilities", errno);
  return {};
}

}  // namespace

void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);  // to the hard limit: always permitted
}

Status ConfineHolder(bool owns_socket_path) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return SystemError("no_new_privs", errno);
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) return SystemError("PR_SET_DUMPABLE", errno);
  if (Status dropped = DropCapabilities(); !dropped) return dropped;
  return LoadFilter(owns_socket_path);
}

}  // namespace landgate::agent
