// What an execve(2) was called with, copied out of the caller's memory.
//
// For a container's runtime, whose memory no process of the container can write: the kernel reads
// the same again when the call goes on.
#ifndef LANDGATE_AGENT_HANDLERS_EXECVE_REQUEST_H_
#define LANDGATE_AGENT_HANDLERS_EXECVE_REQUEST_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <tl/expected.hpp>

#include "sandbox/command_line.h"

namespace landgate::agent {

// Addresses in the caller, as in struct seccomp_data.
struct ExecveArguments {
  uint64_t path = 0;
  uint64_t arguments = 0;    // 0: none, as the kernel takes it
  uint64_t environment = 0;  // 0: none
};

// On failure the errno that execve(2) would have given (EFAULT, ENAMETOOLONG, E2BIG), or ESRCH,
// EACCES and EPERM where the memory can't be read. Thread-safe.
tl::expected<sandbox::CommandLine, int> ReadExecve(pid_t process, const ExecveArguments& from);
tl::expected<std::string, int> ReadExecvePath(pid_t process, const ExecveArguments& from);

// 0, or why execve(2) of `path` by this thread would fail at once: there is no such file (ENOENT,
// ENOTDIR), or nobody could execute it (EACCES). So a runtime that tries the elements of PATH goes
// on to the next. Looks beneath the thread's own root and working directory; what can't be told
// from outside (/proc, "..") is 0. An answer for the moment and no promise.
int LookForProgram(pid_t thread, const std::string& path);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HANDLERS_EXECVE_REQUEST_H_
