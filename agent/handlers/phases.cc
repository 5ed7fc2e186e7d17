#include "agent/handlers/phases.h"

#include <errno.h>

namespace landgate::agent {
namespace {

bool Executes(const Seen& seen) {
  return seen.request == Request::kExecve || seen.request == Request::kExecveat;
}

Step Go(const Seen& seen, Act act, std::string_view why) { return {act, 0, seen.phase, why}; }
Step Refuse(const Seen& seen, int error_number, std::string_view why) {
  return {Act::kDeny, error_number, seen.phase, why};
}

Step OfWorkload(const Seen& seen) {
  if (Executes(seen)) {
    return Go(seen, Act::kContinueFloor, "Landlock's own rules decide what is executed");
  }
  return Go(seen, Act::kNotImplemented, "the workload");
}

// The launcher's own execve, in both kinds of listener.
Step OfLauncher(const Seen& seen) {
  if (seen.request == Request::kExecve && seen.native) {
    return {Act::kContinueTrusted, 0, Phase::kWorkload, "the launcher becomes the workload"};
  }
  if (seen.request == Request::kMarker) {
    return {Act::kNotImplemented, 0, Phase::kLauncher, "the launcher has its answer"};
  }
  return Refuse(seen, EPERM, "the launcher makes no such call");
}

Step OfMainStart(const Seen& seen) {
  if (seen.own_process && seen.launcher) return OfLauncher(seen);
  if (!Executes(seen)) return Go(seen, Act::kNotImplemented, "not the launcher");
  if (seen.own_process && seen.phase == Phase::kLauncher) {
    return {Act::kDenyAndKill, EPERM, seen.phase, "something else runs in the launcher's place"};
  }
  return Go(seen, Act::kContinueTrusted, "the runtime, or a hook of config.json");
}

Step OfSessionStart(const Seen& seen) {
  if (seen.sessions == policy::ExecSessions::kRefused) {
    if (Executes(seen)) return Refuse(seen, EACCES, "the policy refuses exec sessions");
    return Go(seen, Act::kNotImplemented, "a refused session");
  }
  if (seen.sessions == policy::ExecSessions::kUnconfined) {
    if (Executes(seen)) {
      return {Act::kContinueUnconfined, 0, Phase::kWorkload,
              "the policy lets exec sessions run unconfined"};
    }
    return Go(seen, Act::kNotImplemented, "an unconfined session");
  }
  if (!seen.own_process) {
    if (Executes(seen)) return Refuse(seen, EPERM, "not the session's process");
    return Go(seen, Act::kNotImplemented, "not the session's process");
  }
  if (seen.launcher) {
    const bool asks = seen.request == Request::kMarker && seen.phase == Phase::kRuntime;
    if (asks && seen.native && seen.kept) {
      return {Act::kHandOver, 0, Phase::kLauncher, "the launcher asks"};
    }
    return OfLauncher(seen);
  }
  if (seen.phase == Phase::kLauncher) {
    return {Act::kDenyAndKill, EPERM, seen.phase, "something else runs in the launcher's place"};
  }
  if (seen.request == Request::kMarker) {
    return Go(seen, Act::kNotImplemented, "not the launcher");
  }
  if (!seen.native) return Refuse(seen, EPERM, "a system call of another architecture");
  if (seen.request == Request::kExecve) return Go(seen, Act::kTurn, "the runtime's execve");
  return Refuse(seen, EPERM, "only execve can be turned to the launcher");
}

}  // namespace

bool IsWorkload(Phase phase) {
  switch (phase) {
    case Phase::kRuntime:
    case Phase::kLauncher:
      return false;
    case Phase::kWorkload:
      break;
  }
  return true;
}

Step Decide(const Seen& seen) {
  if (seen.request == Request::kOther) return Refuse(seen, EPERM, "not a call of this listener");
  if (IsWorkload(seen.phase)) return OfWorkload(seen);
  return seen.listener == ListenerKind::kMain ? OfMainStart(seen) : OfSessionStart(seen);
}

}  // namespace landgate::agent
