// An exec session that the agent turned to the launcher: its runtime was about to execute something
// else, which only the agent knows by now. The launcher was started with that program's arguments
// and environment, or with what is left of them, and takes neither for its own.
#ifndef LANDGATE_HOOK_INIT_SESSION_H_
#define LANDGATE_HOOK_INIT_SESSION_H_

#include <optional>

#include "base/result.h"
#include "sandbox/command_line.h"

namespace landgate::init {

// Asks by the marker call. Nothing: there is no session, the arguments are the launcher's own. An
// error: there is one, and nothing may run. No descriptor stays open.
//
// Whoever answers gains nothing: the command line is executed with what this process has, less
// what the plan takes away.
Result<std::optional<sandbox::CommandLine>> AskForSession();

}  // namespace landgate::init

#endif  // LANDGATE_HOOK_INIT_SESSION_H_
