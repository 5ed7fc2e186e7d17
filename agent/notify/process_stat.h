// What the kernel says of one process or thread, in small files. Allocates nothing; thread-safe.
#ifndef LANDGATE_AGENT_NOTIFY_PROCESS_STAT_H_
#define LANDGATE_AGENT_NOTIFY_PROCESS_STAT_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string_view>

namespace landgate::agent {

struct ProcessStat {
  char state = 0;      // proc(5): 'Z' and 'X' have ended
  uint64_t start = 0;  // clock ticks since boot
};

// Of /proc/ID/stat, of a process or a thread. Nothing: there is none.
std::optional<ProcessStat> ReadProcessStat(pid_t id);
// The text of the file; the name in it may hold any byte. Pure.
std::optional<ProcessStat> ParseProcessStat(std::string_view text);

// The process or thread with that number and start time has not ended. A number alone may stand for
// another one by now.
bool IsAlive(pid_t id, uint64_t start);

// The stack pointer of a thread that waits in a system call, of /proc/ID/syscall
// (PTRACE_MODE_ATTACH). Nothing: it runs, it has ended, or this process may not trace it.
std::optional<uint64_t> ReadStackPointer(pid_t thread);
// The text of the file. Pure.
std::optional<uint64_t> ParseStackPointer(std::string_view text);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_NOTIFY_PROCESS_STAT_H_
