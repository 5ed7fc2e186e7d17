// Who a listener's notifications come from, and what is answered: the runtime that starts a
// process, then the launcher, then the workload, one way (Region::phase).
//
//              the main listener                       an exec session's
//   runtime    everything goes on: config.json chose   the runtime's execve is turned to the
//              it, also what startContainer hooks run  launcher; nothing else is executed
//   launcher   its execve makes it the workload        its marker call has been answered; its
//   execve
//                                                      makes it the workload
//   workload   the kernel floor decides                the kernel floor decides
//
// The launcher is what /proc/PID/exe says and nothing else; its marker call is ENOSYS to everybody
// but the launcher of a turned exec session, once. Pure; thread-safe.
#ifndef LANDGATE_AGENT_HANDLERS_PHASES_H_
#define LANDGATE_AGENT_HANDLERS_PHASES_H_

#include <string_view>

#include "agent/handlers/handlers.h"
#include "agent/notify/area.h"
#include "policy/document.h"

namespace landgate::agent {

enum class Request { kExecve, kExecveat, kMarker, kOther };

// What is known of one notification when it is decided.
struct Seen {
  ListenerKind listener = ListenerKind::kMain;
  policy::ExecSessions sessions = policy::ExecSessions::kConfined;
  Phase phase = Phase::kRuntime;
  Request request = Request::kOther;
  bool native = false;  // by this machine's own system call table, not i386's or x32's
  // The two below cost a look into /proc and are not asked for in the workload's phase.
  bool own_process = false;  // of the process that got the filter
  bool launcher = false;     // which runs the launcher now
  bool kept = false;         // the session's command line is kept (Region::session)
};

enum class Act {
  kContinueTrusted,     // the runtime's, or the launcher's execve of the workload
  kContinueFloor,       // the workload's
  kContinueUnconfined,  // the policy lets exec sessions run unconfined
  kNotImplemented,      // ENOSYS: the marker call of anybody else
  kTurn,                // to the launcher
  kHandOver,            // the kept command line, to the launcher
  kDeny,
  kDenyAndKill,  // nothing that runs there can be right
};

struct Step {
  Act act = Act::kDeny;
  int error_number = 1;  // of kDeny and kDenyAndKill
  Phase next =
      Phase::kRuntime;   // once it is answered (kHandOver: delivered); never less than before
  std::string_view why;  // of static storage
  bool operator==(const Step&) const = default;
};

// Total; what is not foreseen is denied.
Step Decide(const Seen& seen);

// True where `own_process` and `launcher` make no difference.
bool IsWorkload(Phase phase);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HANDLERS_PHASES_H_
