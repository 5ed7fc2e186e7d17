// THE reader of a workload's memory. Everything it returns was copied once; nobody reads the same
// bytes twice for one decision.
//
// Order: read, then PendingNotification::StillValid, then use. process_vm_readv(2) can return fewer
// bytes than asked within one iovec; a string is never read across a page boundary in one go.
// A read can block for as long as the workload likes (userfaultfd, FUSE, a dead NFS): the caller is
// a receiver thread that another one stands in for (listener.h), and the deadline there ends it.
// Thread-safe.
#ifndef LANDGATE_AGENT_NOTIFY_MEMORY_H_
#define LANDGATE_AGENT_NOTIFY_MEMORY_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace landgate::agent {

enum class MemoryFault {
  kGone,        // ESRCH: the process has ended
  kBadAddress,  // EFAULT, as the kernel would have said
  kTooLong,     // no NUL within the limit: ENAMETOOLONG, E2BIG
  kForbidden,   // EPERM, EACCES: memory that this agent may not read; deny
};
// What the caller of the system call is told.
int ErrnoOf(MemoryFault fault);

// Fills `buffer` with the bytes at `address`, all or nothing.
tl::expected<void, MemoryFault> ReadBytes(pid_t thread, uint64_t address,
                                          std::span<std::byte> buffer);
// A NUL-terminated string of fewer than buffer.size() bytes, into `buffer`; returns the string
// without its NUL. A path is at most PATH_MAX with its NUL.
tl::expected<std::string_view, MemoryFault> ReadString(pid_t thread, uint64_t address,
                                                       std::span<char> buffer);
// Writes to memory of a process that is not the workload's yet (a runtime's), through
// /proc/PID/mem, all or nothing.
tl::expected<void, MemoryFault> WriteBytes(pid_t thread, uint64_t address, std::string_view bytes);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_NOTIFY_MEMORY_H_
