// The helper's operation that looks after a container's masks (sandbox/masks_restore.h), and its
// messages. The serving process never touches a container's files for this: a volume that does not
// answer stalls a helper of that container and nothing else.
//
// First every name on the way to a mask is given to inotify, so that what changes from then on is
// told; then what is lost is put back.
#ifndef LANDGATE_AGENT_HELPER_MASK_RESTORE_H_
#define LANDGATE_AGENT_HELPER_MASK_RESTORE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/helper/helper.h"
#include "sandbox/masks_restore.h"

namespace landgate::agent {

struct MaskRequest {
  std::vector<sandbox::WatchedStep> steps;
  std::vector<sandbox::WatchedName> names;
  std::string before_pivot;  // the container's root as long as its runtime has not pivoted
};

// A name in a directory that inotify tells about.
struct WatchedEntry {
  int watch = -1;  // of inotify_add_watch(2)
  std::string name;
};

struct MaskAnswer {
  std::string problem;  // not empty: nothing else is valid
  sandbox::RestoreOutcome outcome;
  std::vector<WatchedEntry> entries;
  bool unwatched = false;  // some directory could not be watched (fs.inotify.max_user_watches)
};

// Bytes between this program and itself. Decoding a message that is not right gives nothing.
std::string EncodeMaskRequest(const MaskRequest& request);
std::optional<MaskRequest> DecodeMaskRequest(std::string_view bytes);
std::string EncodeMaskAnswer(const MaskAnswer& answer);
std::optional<MaskAnswer> DecodeMaskAnswer(std::string_view bytes);

inline constexpr std::string_view kRestoreMasks = "restore_masks";
// Descriptors: the container's mount namespace, a file with the request, one for the answer, and an
// inotify instance, which the requester shares. Spends the helper.
int64_t RestoreMasksOperation(const OperationInput& input);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HELPER_MASK_RESTORE_H_
