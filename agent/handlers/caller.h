// Who made a system call, in words for the audit log. Read only when something is logged: it costs
// some tens of microseconds.
//
// Everything is from /proc of a thread that waits for its answer; once it has its answer it may
// have ended or execute something else, and what can't be read then is left empty. Names come from
// the workload and may hold any byte. Thread-safe.
#ifndef LANDGATE_AGENT_HANDLERS_CALLER_H_
#define LANDGATE_AGENT_HANDLERS_CALLER_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

namespace landgate::agent {

struct Caller {
  pid_t tgid = 0;    // as this process sees it
  pid_t nspid = 0;   // the process in its own, innermost pid namespace
  pid_t nstid = 0;   // the thread there
  std::string comm;  // at most 15 bytes
  std::string exe;   // as the container has it; " (deleted)" behind one that is
};

// `thread` is seccomp_notif::pid. Nothing: it has ended.
std::optional<Caller> DescribeCaller(pid_t thread);
// The same without names: one small file is read.
std::optional<Caller> IdentifyCaller(pid_t thread);
// The text of /proc/TID/status (proc(5)). Pure; nothing where a field is missing.
std::optional<Caller> ParseStatus(std::string_view status);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HANDLERS_CALLER_H_
