#include "hook/container_entry.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>

#include <utility>

#include "base/syscalls.h"

namespace landgate::hook {
namespace {

Result<UniqueFd> OpenNamespace(pid_t pid, const char* name) {
  const std::string path = "/proc/" + std::to_string(pid) + "/ns/" + name;
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return SystemError(path, errno);
  return fd;
}

Result<bool> IsCallers(BorrowedFd ns, const std::string& name) {
  const std::string own_path = "/proc/self/ns/" + name;
  struct stat theirs;
  struct stat own;
  if (fstat(ns.get(), &theirs) < 0 || stat(own_path.c_str(), &own) < 0) {
    return SystemError(own_path, errno);
  }
  return theirs.st_dev == own.st_dev && theirs.st_ino == own.st_ino;
}

Status JoinUserNamespace(const ContainerNamespaces& container) {
  if (setns(container.user.get(), CLONE_NEWUSER) < 0) {
    return SystemError("setns of the container's user namespace", errno);
  }
  return {};
}

}  // namespace

Result<ContainerNamespaces> OpenNamespaces(pid_t pid) {
  if (pid <= 0) {
    return Impossible(
        "state: /pid: not given: the runtime runs in another pid namespace than its container's "
        "hooks can see; run it in the host's pid namespace");
  }
  Result<UniqueFd> mount = OpenNamespace(pid, "mnt");
  if (!mount) {
    if (mount.error().error_number == ENOENT) {
      return Impossible("state: /pid: there is no process " + std::to_string(pid) +
                        ": it has ended, or the hook runs in another pid namespace");
    }
    return Forward(mount);
  }
  Result<bool> shares_mounts = IsCallers(*mount, "mnt");
  if (!shares_mounts) return Forward(shares_mounts);
  if (*shares_mounts) {
    return Refuse("state: /pid: process " + std::to_string(pid) +
                  " has no mount namespace of its own; add one to linux.namespaces");
  }
  Result<UniqueFd> user = OpenNamespace(pid, "user");
  if (!user) return Forward(user);
  const std::string root_path = "/proc/" + std::to_string(pid) + "/root";
  UniqueFd root(open(root_path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return SystemError(root_path, errno);
  ContainerNamespaces namespaces{std::move(*mount), std::move(*user), std::move(root)};
  const std::pair<const char*, bool*> others[] = {{"net", &namespaces.own_network_namespace},
                                                  {"pid", &namespaces.own_pid_namespace}};
  for (const auto& [name, own] : others) {
    Result<UniqueFd> fd = OpenNamespace(pid, name);
    if (!fd) return Forward(fd);
    Result<bool> callers = IsCallers(*fd, name);
    if (!callers) return Forward(callers);
    *own = !*callers;
  }
  return namespaces;
}

Result<UniqueFd> CloneFile(const ContainerNamespaces& container, const std::string& path) {
  const BorrowedFd here(AT_FDCWD);
  Result<UniqueFd> clone = CloneTree(here, path.c_str(), false);
  if (clone || clone.error().error_number != EPERM) return clone;
  if (Status ok = JoinUserNamespace(container); !ok) return Forward(ok);
  if (unshare(CLONE_NEWNS) < 0) return SystemError("unshare of the mount namespace", errno);
  return CloneTree(here, path.c_str(), false);
}

Status EnterMountNamespace(const ContainerNamespaces& container) {
  if (setns(container.mount.get(), CLONE_NEWNS) == 0) return {};
  if (errno == EPERM) {
    if (Status ok = JoinUserNamespace(container); !ok) return ok;
    if (setns(container.mount.get(), CLONE_NEWNS) == 0) return {};
  }
  return SystemError("setns of the container's mount namespace", errno);
}

}  // namespace landgate::hook
