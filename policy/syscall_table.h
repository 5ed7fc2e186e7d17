// System calls by name for the architectures that containers run on, and the groups of them that
// decisions speak of. One constexpr table; to add a system call is to add its name. Numbers are
// libseccomp's business. Names are those of the kernel's tables. Pure; thread-safe.
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

// Denied under every policy, because they could take masks, launcher or plan away. setns of a mount
// namespace is denied too, but by its argument, and so is not among these.
std::span<const std::string_view> MountApiSyscalls();

}  // namespace landgate::policy

#endif  // LANDGATE_POLICY_SYSCALL_TABLE_H_
