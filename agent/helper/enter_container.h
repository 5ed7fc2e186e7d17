// Entering a container's mount namespace, for operations of a helper (helper.h).
#ifndef LANDGATE_AGENT_HELPER_ENTER_CONTAINER_H_
#define LANDGATE_AGENT_HELPER_ENTER_CONTAINER_H_

#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::agent {

// Root and working directory become those of the mount namespace. An agent without root, whose
// user owns the container's user namespace, joins that one first (ioctl_ns(2): the namespace tells
// its owner, Linux 4.9). Irreversible; the calling process is single threaded.
Status EnterMountNamespace(BorrowedFd mount_namespace);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HELPER_ENTER_CONTAINER_H_
