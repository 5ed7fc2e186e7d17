// Runs another program to its end and keeps what it said. For `check`, which asks runtimes and
// engines what they can do. Not thread-safe with regard to the working directory (it is never
// changed).
#ifndef LANDGATE_AGENT_CTL_CTL_SUBPROCESS_H_
#define LANDGATE_AGENT_CTL_CTL_SUBPROCESS_H_

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace landgate::ctl {

struct Finished {
  int status = 0;          // exit status, or 128 + signal
  bool timed_out = false;  // killed by us
  std::string out, err;    // at most 1 MiB each; more is read and dropped
  bool ok() const { return status == 0 && !timed_out; }
  // The last line of what it said on stderr, else on stdout: what a user would have read.
  std::string LastLine() const;
};

// argv[0] is an absolute path. stdin is /dev/null. The program runs in a process group of its own,
// which is killed when `timeout` has passed.
Result<Finished> RunProgram(const std::vector<std::string>& argv,
                            std::chrono::milliseconds timeout);

// Looks for `name` in PATH, then in the usual directories of administrators' programs, which the
// PATH of an ordinary user often lacks. Nothing where it isn't installed.
std::optional<std::string> FindProgram(const std::string& name);

// Runs `body` in a forked child, for what can't be undone (namespaces, filters). Its text is what
// the child returns: empty means that everything worked. A child that dies says so.
std::string InChild(const std::function<std::string()>& body);

}  // namespace landgate::ctl

#endif  // LANDGATE_AGENT_CTL_CTL_SUBPROCESS_H_
