// Puts masks, restrictions and pins back that were lost in a running container because somebody
// outside of it replaced what they stood on: an editor that saves by rename, a ConfigMap that was
// rotated, a daemon that made its socket anew.
//
// Whatever stands at the name now is masked, be it a file or a directory; by descriptor, no symlink
// followed. Masks are placed first and pins after them, the deepest first, so that a process that
// stands in a directory that is not pinned yet meets the mask as well. What a process had opened
// before, and the directory it stands in, stay what they are. A bind-back comes back with the mask
// that it lies in, of the new object; one whose mask still stands can't be lost.
//
// Names are followed again: where a rule's path leads through a symlink that was swapped, what it
// leads to now is masked too, and pinned beneath what both paths have in common.
//
// For a single-threaded process that ends afterwards. Linux 5.12.
#ifndef LANDGATE_SANDBOX_MASKS_RESTORE_H_
#define LANDGATE_SANDBOX_MASKS_RESTORE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sandbox/masks.h"
#include "sandbox/mount_table.h"

namespace landgate::sandbox {

struct WatchedStep {
  MountStep step;
  uint64_t mount = 0;  // its mount id when it was last seen; 0: not known
};
struct WatchedName {
  std::string path;  // as a rule writes it
  MountStep like;    // the step that it once led to, or one of the same rule
};

enum class StepState : uint8_t {
  kStands,
  kRestored,
  kMissing,  // nothing is at its path, or a symlink: nothing to mask
  kFailed,
};
struct StepOutcome {
  StepState state = StepState::kFailed;
  uint64_t mount = 0;  // of the mount that stands there now
  std::string problem;
};
struct RestoreOutcome {
  std::vector<StepOutcome> steps;  // as given
  std::vector<WatchedStep> added;  // where names lead to now
  std::vector<std::string> leads;  // each name's path now; empty: nowhere
};

// What masks are made of, detached, from the host's side: nothing of it comes from the container.
class MaskSources {
 public:
  // In the mount namespace of the host, before another is entered; may leave a private copy of it
  // behind. What can't be made there (no CAP_SYS_ADMIN on the host) is made in the container's
  // namespace later. `empty_file`: one of the steps asks for it.
  static MaskSources Prepare(bool empty_file);

 private:
  friend class Restorer;
  UniqueFd null_, empty_file_, empty_directory_;
};

// The container's root as the calling process sees it in the container's mount namespace, which it
// has entered: "/", or `before_pivot` as long as the runtime has not pivoted.
struct EnteredRoot {
  UniqueFd fd;
  std::string prefix;  // of mount points: "" or `before_pivot`
  MountTable table;
};
// `proc_self` is /proc/self, opened before the namespace was entered: the container may have none.
Result<EnteredRoot> OpenEnteredRoot(BorrowedFd proc_self, const std::vector<WatchedStep>& steps,
                                    const std::string& before_pivot);

// `container` is its mount namespace.
RestoreOutcome RestoreMounts(const std::vector<WatchedStep>& steps,
                             const std::vector<WatchedName>& names, const EnteredRoot& root,
                             BorrowedFd container, MaskSources sources);

// The mount that stands at each step's path (`prefix` in front of it) in a table; 0: none.
std::vector<uint64_t> MountsAt(const MountTable& table, const std::vector<MountStep>& steps,
                               const std::string& prefix);

}  // namespace landgate::sandbox

#endif  // LANDGATE_SANDBOX_MASKS_RESTORE_H_
