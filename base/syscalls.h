// Raw system calls that the C library of Debian 12 does not wrap, as Result<>.
// Every descriptor is close-on-exec from birth. Thread-safe. On failure Error::error_number is
// the errno of the call; nothing is retried but EINTR where the man page allows it.
#ifndef LANDGATE_BASE_SYSCALLS_H_
#define LANDGATE_BASE_SYSCALLS_H_

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/types.h>

#include <cstdint>
#include <string_view>

#include "base/linux_abi.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate {

// openat2(2), Linux 5.6. `resolve` is a set of RESOLVE_* of <linux/openat2.h>.
Result<UniqueFd> Openat2(BorrowedFd dir, const char* path, uint64_t flags, uint64_t mode,
                         uint64_t resolve);

// --- Landlock, Linux 5.13; see landlock(7)
// The ABI of this kernel; 0 where Landlock is missing (ENOSYS) or not enabled at boot (EOPNOTSUPP).
int LandlockAbi();
Result<UniqueFd> LandlockCreateRuleset(const abi::LandlockRulesetAttr& attr, size_t attr_size);
Status LandlockAddPathRule(BorrowedFd ruleset, BorrowedFd parent, uint64_t rights);
Status LandlockAddPortRule(BorrowedFd ruleset, uint16_t port, uint64_t rights);
Status LandlockRestrictSelf(BorrowedFd ruleset, uint32_t flags);

// --- mounts, Linux 5.2 (mount_setattr: 5.12)
// A detached clone of the mount at `dir`/`path`; `path` may be "" (AT_EMPTY_PATH is implied).
Result<UniqueFd> CloneTree(BorrowedFd dir, const char* path, bool recursive);
// Attaches the detached `mount` on the very object behind `target`; no path is resolved.
Status MoveMountOnto(BorrowedFd mount, BorrowedFd target);
// Sets and clears MOUNT_ATTR_* and sets propagation (MS_PRIVATE … or 0) of the mount behind
// `mount`.
Status MountSetattr(BorrowedFd mount, uint64_t set, uint64_t clear, uint64_t propagation,
                    bool recursive);
// A new, empty, detached tmpfs ("mode=0755", "size=…" and so on as key=value pairs, comma
// separated).
Result<UniqueFd> NewTmpfs(std::string_view options);

// --- processes
Result<UniqueFd> PidfdOpen(pid_t pid);  // Linux 5.3
// A duplicate of descriptor `fd` of that process: the same open file description. Linux 5.6.
// EPERM: the caller may not trace the process.
Result<UniqueFd> PidfdGetfd(BorrowedFd pidfd, int fd);
Status PidfdSendSignal(BorrowedFd pidfd, int signal);  // Linux 5.1

// --- seccomp user notification, Linux 5.0; see seccomp_unotify(2)
// Puts `program` in front of the calling thread's system calls and returns its listener. `flags`
// beyond NEW_LISTENER: SECCOMP_FILTER_FLAG_*. Needs no_new_privs or CAP_SYS_ADMIN. EBUSY: a filter
// of this thread has a listener already.
Result<UniqueFd> SeccompNewListener(const sock_fprog& program, unsigned long flags);
// What this kernel's structures take.
Result<seccomp_notif_sizes> SeccompNotifySizes();
// SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, Linux 6.6.
Status SeccompSetSyncWakeUp(BorrowedFd listener);
// These run for every notified call, so they make no text: 0, or the errno of the ioctl.
// `notification` has the kernel's size and must be zero.
int SeccompReceive(BorrowedFd listener, void* notification);
int SeccompRespond(BorrowedFd listener, const seccomp_notif_resp& response);
int SeccompIdValid(BorrowedFd listener, uint64_t id);
// The number of the descriptor in the other process, or -errno. Linux 5.9; SECCOMP_ADDFD_FLAG_SEND
// 5.14.
int SeccompAddFd(BorrowedFd listener, const seccomp_notif_addfd& request);

}  // namespace landgate

#endif  // LANDGATE_BASE_SYSCALLS_H_
