// The poststop hook: takes away what prestart left for a container.
#ifndef LANDGATE_HOOK_POSTSTOP_H_
#define LANDGATE_HOOK_POSTSTOP_H_

#include <string_view>

#include "base/result.h"
#include "node/config.h"

namespace landgate::hook {

// Removes RUNDIR/containers/ID and a socket that refused exec sessions, and tells the agent that
// had the container, if it still answers. Idempotent: what is gone already is no error. The record
// of another container of the same id (another bundle: engines keep ids apart by their own root
// directories) stays.
Status Poststop(const node::Config& config, std::string_view state_json);

}  // namespace landgate::hook

#endif  // LANDGATE_HOOK_POSTSTOP_H_
