// prestart on a config.json that nobody patched (docs/pure-prestart.md): the launcher is mounted
// over the entrypoint, plan and the agent's socket are put into the container's /dev, and the agent
// takes the launcher off again when it runs.
//
// Needs an agent, a /dev of the container's own (tmpfs), and an engine's profile that lets the
// launcher work; refused otherwise, with the config patch as the way out. Covers the entrypoint's
// process tree. Exec sessions are not confined: a policy that says they are is refused.
#ifndef LANDGATE_HOOK_PURE_PRESTART_H_
#define LANDGATE_HOOK_PURE_PRESTART_H_

#include <string>

#include "base/result.h"
#include "hook/placement.h"
#include "node/config.h"

namespace landgate::hook {

// Before anything is done: can this container be started this way?
Status CheckPure(const Prepared& prepared, const std::string& file);

// Everything that it takes, from the host's mount namespace into the container's.
Result<Placed> StandIn(const node::Config& config, const Prepared& prepared,
                       const ContainerNamespaces& container, const std::string& root_path,
                       RecordFiles& files, Record& record);

}  // namespace landgate::hook

#endif  // LANDGATE_HOOK_PURE_PRESTART_H_
