// Applies Landlock layers to the calling thread.
//
// What Landlock does not cover: stat, chmod, chown, utimes, xattr, access(2), O_PATH opens, names
// in directories that may be searched, memfd and pipes, descriptors opened before. A layer that
// handles any FS right also denies mount(2), umount2(2), pivot_root(2) and move_mount(2).
// Kernel: Linux 5.13 and later, see landlock(7). Constants are ours (base/linux_abi.h).
#ifndef LANDGATE_SANDBOX_LANDLOCK_H_
#define LANDGATE_SANDBOX_LANDLOCK_H_

#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sandbox/plan.h"

namespace landgate::sandbox {

enum class Session { kStart, kExec };  // the entrypoint, or an exec session of a running container

// A layer whose rules are in the kernel but which does not bind anybody yet. Rule paths are opened
// with O_PATH from `root` and never through a symlink; at kStart an object other than the planned
// one is an error, at kExec a path that is gone or has become a symlink is skipped. A path out of
// the caller's reach (EACCES) is skipped unless it is required. Skipped paths are appended to
// `skipped` (may be null). Rights that the object's type can't carry are masked off.
Result<UniqueFd> BuildLayer(const PlannedLayer& layer, BorrowedFd root, Session session,
                            std::vector<std::string>* skipped);

// no_new_privs must be set. Irreversible; binds this thread and its future children.
Status RestrictSelf(BorrowedFd layer);

}  // namespace landgate::sandbox

#endif  // LANDGATE_SANDBOX_LANDLOCK_H_
