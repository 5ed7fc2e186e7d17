#include "agent/helper/enter_container.h"

#include <errno.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>

namespace landgate::agent {

Status EnterMountNamespace(BorrowedFd mount_namespace) {
  if (setns(mount_namespace.get(), CLONE_NEWNS) == 0) return {};
  if (errno == EPERM) {
    const UniqueFd owner(ioctl(mount_namespace.get(), NS_GET_USERNS));
    if (!owner.valid()) return SystemError("the container's user namespace", errno);
    if (setns(owner.get(), CLONE_NEWUSER) < 0) {
      return SystemError("setns of the container's user namespace", errno);
    }
    if (setns(mount_namespace.get(), CLONE_NEWNS) == 0) return {};
  }
  return SystemError("setns of the container's mount namespace", errno);
}

}  // namespace landgate::agent
