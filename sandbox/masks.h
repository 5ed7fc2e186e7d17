// Masks, pins and binds-back: mounts inside a container's mount namespace that take away what
// Landlock's additive rules granted around them.
//
// Placed by file descriptor only: an object is reached by walking from the root without symlinks,
// compared with the compiled one, cloned, and the clone moved onto that very descriptor. No path is
// resolved twice and nothing is created in anybody's volume. Linux 5.12 (mount_setattr).
#ifndef LANDGATE_SANDBOX_MASKS_H_
#define LANDGATE_SANDBOX_MASKS_H_

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sandbox/plan.h"

namespace landgate::sandbox {

enum class MountStepKind {
  kMaskFile,   // /dev/null, ro,nosuid,nodev,noexec
  kMaskEmpty,  // an empty regular file, ro
  kMaskDir,    // an empty directory, ro; with skeleton names where something is bound back into it
  kRestrict,   // the object bound on itself with `read_only` / `noexec`
  kBindBack,   // the real object, cloned before masking, mounted inside a mask or with fewer flags
  kPin,        // a directory bound on itself so that it can't be renamed
};

struct MountStep {
  MountStepKind kind = MountStepKind::kPin;
  std::string path;  // resolved in the container
  ObjectId object;   // must be this when placed, else the container is refused
  bool directory = false;
  bool read_only = false;  // kRestrict, kBindBack
  bool noexec = false;
  bool nodev = false;
  // kBindBack: has fewer flags than what encloses it. Nothing is cleared for that (flags of a mount
  // may be locked in a user namespace): the clone was taken before the flags were set.
  bool writable_again = false;
  std::string because;  // JSON pointer of the rule, for messages and `compile`
};

// Steps in the order in which they are placed: outer before inner.
using MountSteps = std::vector<MountStep>;

// Places all steps beneath `root` in the mount namespace behind `container` (an open
// /proc/PID/ns/mnt). The calling process must be single threaded and is left in that namespace,
// with its root and working directory at the namespace's root; `root` is opened in the container's,
// and /dev/null and /proc of whoever made the namespace can still be reached (it has not pivoted
// yet). The first mask of a kind is made, all others are clones of it; only the empty file of
// `"mask": "empty"` needs a private copy of the namespace, once. Works with CAP_SYS_ADMIN in the
// user namespace that owns the mount namespace: flags are only ever added, never cleared.
// Refuses: a differing object, a mount that is shared (the step would reach the host).
// On failure some steps may stand; the caller must not let the container start.
Status PlaceMounts(const MountSteps& steps, BorrowedFd container, BorrowedFd root);

}  // namespace landgate::sandbox

#endif  // LANDGATE_SANDBOX_MASKS_H_
