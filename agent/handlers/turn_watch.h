// Looks after a process whose execve was turned to the launcher, until the launcher has asked for
// its command line.
//
// What runs there is told by /proc/PID/exe alone. As long as it is what ran before, the execve has
// not happened (or has failed, and the runtime ends by itself); then it must be the launcher. What
// is neither, and what does not ask in time, is killed. Nothing that a container can do makes the
// execve end elsewhere (docs/exec-sessions.md), so this holds against the unforeseen: it looks
// every millisecond and not at every instruction.
//
// Thread-safe.
#ifndef LANDGATE_AGENT_HANDLERS_TURN_WATCH_H_
#define LANDGATE_AGENT_HANDLERS_TURN_WATCH_H_

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string_view>

#include "base/unique_fd.h"
#include "sandbox/plan.h"

namespace landgate::agent {

struct Turned {
  pid_t process = 0;
  BorrowedFd pidfd{-1};  // of it
  sandbox::ObjectId launcher;
  std::optional<sandbox::ObjectId> before;  // what ran when its execve was let go; absent: anything
};

enum class TurnEnd {
  kAsked,   // the launcher has what it asked for
  kEnded,   // the process has ended
  kKilled,  // by us
};

// Blocks for at most `patience`. `asked` is called from this thread. `why`, of static storage, says
// what a process was killed for.
TurnEnd WatchTurn(const Turned& turned, std::chrono::milliseconds patience,
                  const std::function<bool()>& asked, std::string_view* why);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HANDLERS_TURN_WATCH_H_
