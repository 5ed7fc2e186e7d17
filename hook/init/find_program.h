// Which file a container's args[0] means: the runtime's own answer, given by the launcher in its
// place. As in runc (Go's exec.LookPath) and crun a name with a slash is the file itself, any other
// is searched in the PATH of the process's own environment, and without PATH nothing is found.
// Where they differ, relative elements of PATH, we find what either would: "" and "." are the
// working directory (runc finds it and then refuses it, crun runs what "." finds).
#ifndef LANDGATE_HOOK_INIT_FIND_PROGRAM_H_
#define LANDGATE_HOOK_INIT_FIND_PROGRAM_H_

#include <string>

namespace landgate::init {

// What shells and engines answer for a command that is not there, and for one that can't be run.
inline constexpr int kNotFound = 127;
inline constexpr int kNotExecutable = 126;

struct Program {
  std::string path;     // for execve; empty: none …
  int exit_status = 0;  // … kNotFound or kNotExecutable
  std::string why;      // … and the reason for people
};

// `search_path` is $PATH, null where it is unset. Looks with the caller's effective identity: call
// it when that is final. Landlock takes no part, it restricts neither stat(2) nor access(2).
Program FindProgram(const std::string& name, const char* search_path);

// The same answers for an execve that failed.
int ExitStatusOfExec(int error_number);
std::string Reason(int error_number);  // "no such file or directory"

}  // namespace landgate::init

#endif  // LANDGATE_HOOK_INIT_FIND_PROGRAM_H_
