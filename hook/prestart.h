// The prestart (and createRuntime) hook: the last look at a container before its first process
// runs.
//
// The runtime has made the container's mounts and not yet pivoted. The hook verifies that
// config.json is patched exactly as the policies of this moment require, compiles the floor against
// the finished mount tree, places the mounts and the plan, records the container, and registers it
// with the agent where one answers. In audit mode it records and registers only. Whatever fails
// keeps the container from starting; if the hook never runs, the launcher finds an empty plan and
// refuses. The calling process must be single threaded and stays in the container's mount
// namespace. Linux 5.12 (mount_setattr).
#ifndef LANDGATE_HOOK_PRESTART_H_
#define LANDGATE_HOOK_PRESTART_H_

#include <string>
#include <string_view>

#include "base/result.h"
#include "hook/front_end.h"
#include "node/config.h"

namespace landgate::hook {

// `request.bundle` is filled in from the state.
Status Prestart(const node::Config& config, Request request, std::string_view state_json);

}  // namespace landgate::hook

#endif  // LANDGATE_HOOK_PRESTART_H_
