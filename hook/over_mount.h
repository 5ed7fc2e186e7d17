// The pure prestart shape: config.json was not patched, so the launcher is mounted over the file
// that the runtime is about to execute, and takes its place.
//
// By the time of prestart and createRuntime runtimes have made the container's mounts and not yet
// pivoted; nothing of the container runs. What the runtime will execute is found by its own rules
// (runc: Go's exec.LookPath; crun: the same search): a name with a slash is relative to the working
// directory, any other is searched in PATH of the process's environment. Every candidate that the
// process's user may execute is mounted over, not only the first, so that a file that comes or goes
// on a volume meanwhile doesn't let a later one run in its place.
//
// Linux 5.12. The calling process is single threaded and in the container's mount namespace.
#ifndef LANDGATE_HOOK_OVER_MOUNT_H_
#define LANDGATE_HOOK_OVER_MOUNT_H_

#include <cstdint>
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
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> additional_gids;
};

// Mounts a clone of `launcher` (a detached mount of the launcher's file, read-only) over every
// candidate and says where; outer to inner is the order of PATH. `root` is the container's root.
// Refused: no candidate (the runtime would find nothing either), a candidate on a `shared:` mount
// (the over-mount would reach the host and stay there), a candidate that is a directory or a
// device.
Result<std::vector<node::OverMount>> PlaceOverMounts(BorrowedFd root, const Entrypoint& entrypoint,
                                                     BorrowedFd launcher);

}  // namespace landgate::hook

#endif  // LANDGATE_HOOK_OVER_MOUNT_H_
