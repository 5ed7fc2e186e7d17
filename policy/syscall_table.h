// System calls by name and number for the architectures that containers run on, and the groups of
// them that decisions speak of. One constexpr table; to add a system call is to add one line.
// Names are those of the kernel's tables. Pure.
#ifndef LANDGATE_POLICY_SYSCALL_TABLE_H_
#define LANDGATE_POLICY_SYSCALL_TABLE_H_

#include <span>
#include <string_view>

namespace landgate::policy {

// True for every name that Linux 6.18 or libseccomp 2.5.4 knows on any architecture.
bool IsSyscallName(std::string_view name);
// The known name nearest to a misspelt one ("openatt" → "openat"); empty where none is near.
std::string_view NearestSyscallName(std::string_view name);

// Must never be denied by a policy: without them no program starts, ends or is launched
// (execve, exit_group, rt_sigreturn, brk, mmap, …).
bool IsIndispensable(std::string_view name);

// Denied under every policy, because they could take masks, launcher or plan away:
// mount API and setns of a mount namespace (the latter by argument).
std::span<const std::string_view> MountApiSyscalls();

}  // namespace landgate::policy

#endif  // LANDGATE_POLICY_SYSCALL_TABLE_H_
