// From policies and a container's root to a floor: which means enforces which rule.
//
// THE place where a rule becomes Landlock, a mount, a maskedPath or a filter rule. The floor never
// grants what DecidePath denies; for allow rules and literal static denies it grants exactly the
// same. What it can't enforce is refused with the way out.
#ifndef LANDGATE_SANDBOX_COMPILE_H_
#define LANDGATE_SANDBOX_COMPILE_H_

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "policy/decide_path.h"
#include "policy/document.h"
#include "sandbox/filter.h"
#include "sandbox/masks.h"
#include "sandbox/plan.h"

namespace landgate::sandbox {

// What of the floor depends on the policies alone: goes into config.json before any mount exists.
struct StaticFloor {
  std::vector<std::string> masked_paths;    // /proc and /sys: linux.maskedPaths
  std::vector<std::string> readonly_paths;  // linux.readonlyPaths
  std::optional<CapabilitySet> keep;
  policy::ExecSessions exec_sessions = policy::ExecSessions::kConfined;
};
// Refuses what Examine refuses, globs in /proc and /sys, and rights there that masking can't hold.
Result<StaticFloor> CompileStatic(const std::vector<policy::Policy>& policies);

struct CompileInput {
  // All must allow: each is a Landlock layer (or more) of its own; mounts hold for all of them.
  std::vector<policy::Policy> policies;  // merged and supported
  int landlock_abi = 0;                  // LandlockAbi(), or another for tests and `compile --abi`
  bool own_network_namespace = true;     // defaults of `scopes`
  bool own_pid_namespace = true;
  // A mount that propagates to the host can't be masked. False where nothing will be placed: to
  // look at a plain directory, which lies on the host's own mounts; it is a warning then.
  bool refuse_shared_mounts = true;
  // System calls that the patch opened in the engine's profile for the launcher.
  std::vector<std::string> closed_again;
  int closed_errno = 1;
};

// How one rule target is enforced, for `compile` and for the record of the container.
struct Means {
  std::string policy;    // name
  std::string file;      // the document the rule stands in: the policy's, or one it extends
  std::string rule;      // JSON pointer within `file`
  std::string target;    // as written
  std::string resolved;  // path in the container; empty: missing and skipped
  std::string means;     // "landlock", "mask", "mask-empty", "read-only", "noexec",
                         // "read-only,noexec", "bind-back", "maskedPaths", "readonlyPaths",
                         // "nothing-granted", "skipped"
  std::string holds;     // "always", or "at-start": whoever replaces the object outside the
                         // container takes the mask off
  std::string note;      // consequence to be told, or why it was skipped
};

// What of the requested Landlock rights the kernel holds.
struct Degradation {
  std::string policy;
  std::string right;  // "fs.ioctl_dev", "net.connect_tcp", "scope.signal"
  int needed_abi = 0;
  int found_abi = 0;
};
enum class Enforcement { kFull, kPartial, kNone };

struct Floor {
  Plan plan;
  MountSteps mounts;
  std::vector<FilterRule> filter_rules;
  std::vector<Means> means;
  std::vector<Degradation> degraded;
  Enforcement landlock = Enforcement::kFull;
  std::vector<std::string> warnings;
};

// `root` is the container's root directory (O_PATH or O_RDONLY) in the calling process's mount
// namespace, its mounts already in place; nothing is changed. Rule paths are resolved with
// RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS.
// Refused: a missing path that is not optional; a write, create, remove or device right on a
// symlink whose target the policy does not name; a path that resolves to / without saying /;
// a denied file with several links; required rights that the ABI lacks; and whatever the means
// can't hold.
Result<Floor> Compile(const CompileInput& input, BorrowedFd root);

// The floor as JSON for people's programs (`compile --json`, the container's record).
std::string FloorJson(const Floor& floor);
// The same as text for people: one line a rule, then masks and pins, layers, filter.
std::string FloorText(const Floor& floor);

}  // namespace landgate::sandbox

#endif  // LANDGATE_SANDBOX_COMPILE_H_
