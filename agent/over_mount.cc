#include "agent/over_mount.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "base/syscalls.h"

namespace landgate::agent {
namespace {

Status Remove(BorrowedFd root, const node::OverMount& over_mount) {
  Result<UniqueFd> file =
      Openat2(root, over_mount.path.c_str(), O_PATH, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  if (!file) return Context(over_mount.path, file);
  struct statx st;
  if (statx(file->get(), "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0) {
    return SystemError(over_mount.path, errno);
  }
  if (st.stx_mnt_id != over_mount.mount_id) return {};
  // Through the descriptor: the name is not looked up a second time.
  if (umount2(std::to_string(file->get()).c_str(), MNT_DETACH) < 0) {
    return SystemError("umount of the launcher on " + over_mount.path, errno);
  }
  return {};
}

}  // namespace

Status RemoveOverMounts(BorrowedFd own_fds, const std::vector<node::OverMount>& over_mounts) {
  const UniqueFd root(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return SystemError("the container's root", errno);
  if (fchdir(own_fds.get()) < 0) return SystemError("/proc/self/fd", errno);
  for (const node::OverMount& over_mount : over_mounts) {
    if (Status ok = Remove(root, over_mount); !ok) return ok;
  }
  return {};
}

}  // namespace landgate::agent
