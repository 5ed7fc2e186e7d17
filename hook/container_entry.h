// Entering a container's mount namespace, and telling whether launcher and plan stand there.
//
// Who runs the hook decides how: root, and the root of a rootless engine's user namespace, may
// enter directly; an ordinary user who started plain runc owns the container's user namespace and
// must join it first. The calling process must be single threaded (setns(2) of a user namespace).
#ifndef LANDGATE_HOOK_CONTAINER_ENTRY_H_
#define LANDGATE_HOOK_CONTAINER_ENTRY_H_

#include <sys/types.h>

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sandbox/object.h"

namespace landgate::hook {

struct ContainerNamespaces {
  UniqueFd mount;
  UniqueFd user;
  UniqueFd root;  // its process's; before the pivot the one in which the runtime names paths
  // Of its own, and not those of the caller. By identity: a path in config.json may lead anywhere.
  bool own_network_namespace = false;
  bool own_pid_namespace = false;
};

// Refuses a pid that this process can't see (0: runtimes in another pid namespace say so), and one
// that shares the caller's mount namespace, which is no container's.
Result<ContainerNamespaces> OpenNamespaces(pid_t pid);

// A detached clone of one file's mount, fit to be moved into the container. Where the caller may
// not clone, it joins the container's user namespace and gets a mount namespace of its own, a copy
// of the one it had; that is irreversible.
Result<UniqueFd> CloneFile(const ContainerNamespaces& container, const std::string& path);

// Enters the mount namespace; root and working directory become those of the namespace. Joins the
// user namespace first where that is needed. Irreversible.
Status EnterMountNamespace(const ContainerNamespaces& container);

using sandbox::IdentifyFile;
using sandbox::OpenMounted;

}  // namespace landgate::hook

#endif  // LANDGATE_HOOK_CONTAINER_ENTRY_H_
