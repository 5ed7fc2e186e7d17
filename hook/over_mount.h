// The pure prestart shape: config.json was not patched, so the launcher is mounted over the file
// that the runtime is about to execute, and takes its place.
//
// By the time of prestart and createRuntime runtimes have made the container's mounts and not yet
// pivoted; nothing of the container runs. What the runtime will execute is found by its own rules
// (runc: Go's exec.LookPath; crun: the same search): a name with a slash is relative to the working
// directory, any other is searched in PATH of the process's environment. Every candidate that has
// an x bit is mounted over, not only the first and whoever it is for: users, capabilities and
// access control lists decide which one the runtime takes. Where the process's user may not execute
// that one, the launcher says so (126), and the search does not go on.
//
// Linux 5.12. The calling process is single threaded and in the container's mount namespace.
#ifndef LANDGATE_HOOK_OVER_MOUNT_H_
#define LANDGATE_HOOK_OVER_MOUNT_H_

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "node/registration.h"

namespace landgate::hook {

// What config.json says of the process, as far as it decides which file runs.
struct Entrypoint {
  std::string name;  // process.args[0]
  std::string cwd;   // process.cwd, absolute
  std::vector<std::string> env;
};

// Before anything is mounted: refuses what would be looked for through a mount other than the
// root's. Replacing a file takes off what is mounted over it in every mount namespace, and volumes
// can be changed by other containers at any time.
Status CheckCandidates(BorrowedFd root, const Entrypoint& entrypoint);

// Mounts a clone of `launcher` (a detached mount of the launcher's file, read-only) over every
// candidate and says where; outer to inner is the order of PATH. `root` is the container's root.
// Refused: no candidate (the runtime would find nothing either), a candidate on a `shared:` mount
// (the over-mount would reach the host and stay there), a candidate that is a directory or a
// device.
Result<std::vector<node::OverMount>> PlaceOverMounts(BorrowedFd root, const Entrypoint& entrypoint,
                                                     BorrowedFd launcher);

}  // namespace landgate::hook

#endif  // LANDGATE_HOOK_OVER_MOUNT_H_
