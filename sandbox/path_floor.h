// From the `paths` sections of a stack of policies to Landlock rules and mounts.
//
// Every object that a rule names is a node. Landlock's rules at the nodes carry what the policies
// allow there; what the rules above a node grant beyond it is taken by a mount (rights_algebra.h),
// at every name under which the container sees the object, and ancestors that could be moved away
// are pinned. The result is exact for allow rules and literal denies; what can't be is refused.
// Looks at the root, changes nothing. Not thread-safe.
#ifndef LANDGATE_SANDBOX_PATH_FLOOR_H_
#define LANDGATE_SANDBOX_PATH_FLOOR_H_

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "policy/document.h"
#include "sandbox/compile.h"
#include "sandbox/masks.h"
#include "sandbox/plan.h"

namespace landgate::sandbox {

struct PathSection {
  const policy::Policy* policy = nullptr;  // has a `paths` section; outlives the call
  policy::Rights wanted = 0;               // what the section handles
  policy::Rights handled = 0;              // what of it this kernel's Landlock knows
};

struct PathFloor {
  std::vector<std::vector<PlannedPath>> layers;  // one a section, in their order
  MountSteps steps;
  std::vector<Means> means;
  std::vector<std::string> warnings;
};
// `refuse_shared`: CompileInput::refuse_shared_mounts.
Result<PathFloor> CompilePaths(const std::vector<PathSection>& sections, BorrowedFd root,
                               bool refuse_shared);

// True for /proc, /sys and what lies beneath: the runtime's maskedPaths and readonlyPaths hold
// there.
bool IsKernelPath(std::string_view path);

}  // namespace landgate::sandbox

#endif  // LANDGATE_SANDBOX_PATH_FLOOR_H_
