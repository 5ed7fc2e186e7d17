// What prestart puts into a container, and the steps that its two shapes have in common: on a
// config.json that was patched (prestart.cc) and on one that was not (pure_prestart.cc).
#ifndef LANDGATE_HOOK_PLACEMENT_H_
#define LANDGATE_HOOK_PLACEMENT_H_

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "hook/container_entry.h"
#include "hook/front_end.h"
#include "hook/record.h"
#include "hook/record_files.h"
#include "node/registration.h"
#include "sandbox/compile.h"
#include "sandbox/masks.h"

namespace landgate::hook {

// What the agent is told of it.
struct Placed {
  std::string floor_json;
  sandbox::MountSteps mounts;
  std::vector<node::OverMount> over_mounts;
  UniqueFd launcher_socket;  // listens; the agent's from now on
};

// The container's root at `path`, which is the runtime's name for it: an engine may run in a
// chroot, and entering a mount namespace leaves that. In the container's mount namespace.
Result<UniqueFd> OpenRoot(const ContainerNamespaces& container, const std::string& path);

// The plan's file, cloned so that it can be moved into the container: read-only, private.
Result<UniqueFd> ClonePlan(const ContainerNamespaces& container, RecordFiles& files);
// Compiles for the mount tree at `root`; in the container's mount namespace.
Result<sandbox::Floor> CompileFor(const Prepared& prepared, const ContainerNamespaces& container,
                                  BorrowedFd root);
// Refused: a plan that is too large.
Status WritePlan(const sandbox::Plan& plan, RecordFiles& files);

}  // namespace landgate::hook

#endif  // LANDGATE_HOOK_PLACEMENT_H_
