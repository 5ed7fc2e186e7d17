// Takes the launcher off the entrypoint again, in the pure prestart shape (hook/over_mount.h).
#ifndef LANDGATE_AGENT_HELPER_OVER_MOUNT_H_
#define LANDGATE_AGENT_HELPER_OVER_MOUNT_H_

#include <string>
#include <string_view>
#include <vector>

#include "agent/helper/helper.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "node/registration.h"

namespace landgate::agent {

// Detaches every over-mount (MNT_DETACH: the launcher still runs from it). Each is told by its
// mount id, which no other mount has while it stands, and reached by descriptor; one that is gone
// already is no error. The calling process is single threaded, has entered the container's mount
// namespace, and needs CAP_SYS_ADMIN in the user namespace that owns it. `own_fds` is /proc/self/fd
// of this process, opened with O_PATH before it entered: the container may have no /proc. Changes
// the working directory. Linux 5.8.
Status RemoveOverMounts(BorrowedFd own_fds, const std::vector<node::OverMount>& over_mounts);

inline constexpr std::string_view kRemoveOverMounts = "remove-over-mounts";
// The same as an operation of a helper: the bytes are EncodeOverMounts, the descriptor is the
// container's mount namespace.
int64_t RemoveOverMountsOperation(const OperationInput& input);
std::string EncodeOverMounts(const std::vector<node::OverMount>& over_mounts);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HELPER_OVER_MOUNT_H_
