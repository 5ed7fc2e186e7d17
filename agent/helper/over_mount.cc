#include "agent/helper/over_mount.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <optional>
#include <string>

#include "agent/helper/enter_container.h"
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

// Sent by the serving process: a message that is not right is a bug.
std::optional<std::vector<node::OverMount>> DecodeOverMounts(std::string_view bytes) {
  std::vector<node::OverMount> over_mounts;
  while (!bytes.empty()) {
    node::OverMount over_mount;
    const size_t end = bytes.find('\0', sizeof over_mount.mount_id);
    if (bytes.size() < sizeof over_mount.mount_id || end == std::string_view::npos) return {};
    memcpy(&over_mount.mount_id, bytes.data(), sizeof over_mount.mount_id);
    over_mount.path = bytes.substr(sizeof over_mount.mount_id, end - sizeof over_mount.mount_id);
    over_mounts.push_back(std::move(over_mount));
    bytes.remove_prefix(end + 1);
  }
  return over_mounts;
}

}  // namespace

std::string EncodeOverMounts(const std::vector<node::OverMount>& over_mounts) {
  std::string bytes;
  for (const node::OverMount& over_mount : over_mounts) {
    bytes.append(reinterpret_cast<const char*>(&over_mount.mount_id), sizeof over_mount.mount_id);
    bytes += over_mount.path;
    bytes += '\0';
  }
  return bytes;
}

int64_t RemoveOverMountsOperation(const OperationInput& input) {
  const auto over_mounts = DecodeOverMounts(input.bytes);
  if (!over_mounts || input.fds.size() != 1) return -EINVAL;
  const UniqueFd own_fds(open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!own_fds.valid()) return -errno;
  Status done = EnterMountNamespace(input.fds[0]);
  if (done) done = RemoveOverMounts(own_fds, *over_mounts);
  if (done) return 0;
  return done.error().error_number != 0 ? -done.error().error_number : -EIO;
}

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
