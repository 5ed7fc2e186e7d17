#include "sandbox/object.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>

#include "base/syscalls.h"

namespace landgate::sandbox {
namespace {

Result<struct statx> Statx(BorrowedFd dir, const char* path, int flags) {
  struct statx st;
  if (statx(dir.get(), path, flags, STATX_BASIC_STATS, &st) < 0) return SystemError("statx", errno);
  return st;
}

ObjectId Identity(const struct statx& st) {
  return {st.stx_dev_major, st.stx_dev_minor, st.stx_ino};
}

}  // namespace

Result<ObjectId> IdentifyFile(BorrowedFd fd) {
  Result<struct statx> st = Statx(fd, "", AT_EMPTY_PATH);
  if (!st) return Forward(st);
  return Identity(*st);
}

Result<ObjectId> IdentifyFile(const std::string& path) {
  Result<struct statx> st = Statx(BorrowedFd(AT_FDCWD), path.c_str(), 0);
  if (!st) return Context(path, st);
  return Identity(*st);
}

Result<UniqueFd> OpenMounted(BorrowedFd root, const char* path, const ObjectId& expected,
                             const std::string& name) {
  Result<UniqueFd> fd = Openat2(root, path, O_PATH | O_NOFOLLOW, 0,
                                RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
  if (!fd) return Context(name + " in the container", fd);
  Result<struct statx> st = Statx(*fd, "", AT_EMPTY_PATH);
  if (!st) return Context(name, st);
  if (Identity(*st) != expected) return Refuse(name + ": is not what was mounted there");
  if (!(st->stx_attributes_mask & STATX_ATTR_MOUNT_ROOT)) {
    return Impossible(name + ": this kernel does not tell mount points (Linux 5.8 does)");
  }
  if (!(st->stx_attributes & STATX_ATTR_MOUNT_ROOT)) {
    return Refuse(name + ": is not a mount of its own in the container");
  }
  return fd;
}

}  // namespace landgate::sandbox
