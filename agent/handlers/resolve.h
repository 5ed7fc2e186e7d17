// Where a path of a caller leads: the object, and its name as the container has it.
//
// The caller's root, working directory and descriptors are reached through /proc/TID, and the path
// is walked beneath them the way the kernel would walk it for the caller: absolute symlinks lead to
// the caller's root, ".." ends there, /proc/self is the caller's. One openat2(2) is tried for all
// but the last component first (Linux 5.6); most paths have no symlink, and then nothing else is
// needed. Names are read back from /proc/self/fd relative to the container's root, so second names
// by symlinks and dots are one.
//
// It is a look, not a promise: the workload can change what a path leads to as soon as it was
// looked at. Permissions of the caller are not asked (this process is root, or the same user).
// Looking can take as long as the file system likes (FUSE, a dead NFS): Call::MaySlow first.
// Thread-safe.
#ifndef LANDGATE_AGENT_HANDLERS_RESOLVE_H_
#define LANDGATE_AGENT_HANDLERS_RESOLVE_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "agent/handlers/path_request.h"
#include "base/unique_fd.h"
#include "sandbox/plan.h"

namespace landgate::agent {

// A directory to begin at, told apart from all others by mount and inode.
struct Anchor {
  UniqueFd fd;
  uint64_t mount_id = 0;
  sandbox::ObjectId object;
  mode_t type = 0;
};

// Opened with O_PATH. Errors: ESRCH (it has ended), EBADF (no such descriptor).
tl::expected<Anchor, int> OpenRootOf(pid_t thread);
tl::expected<Anchor, int> OpenDirectoryOf(pid_t thread, int dirfd);  // AT_FDCWD: the cwd

// A path to look at. The descriptors outlive the call.
struct Journey {
  const Anchor* root = nullptr;
  const Anchor* start = nullptr;  // of a path that is not absolute; may be null otherwise
  std::string_view path;
  bool follow = true;
  bool empty_is_start = false;
  uint64_t resolve = 0;        // RESOLVE_* but NO_XDEV, which only makes a call fail
  pid_t thread = 0;            // the caller, for /proc/self; asked only when it is met
  std::string_view root_text;  // how the container's root reads in /proc/self/fd: "/"
};

struct Arrival {
  mode_t type = 0;     // S_IFMT; 0: nothing is there
  std::string object;  // the name of what is there; empty: nothing, or it has no name (a pipe)
  std::string name;    // of the name itself, whose last component may be a symlink; empty: the
                       // path ends in "/", ".", or "..", or leads to no name
  sandbox::ObjectId directory;  // that holds the name
  uint64_t directory_mount = 0;
};

// Errors: what the caller would get on the way (ENOENT, ENOTDIR, ELOOP, EXDEV, ENAMETOOLONG), or
// what kept us from looking (EACCES and others).
tl::expected<Arrival, int> Reach(const Journey& journey);

// True for the errors that the kernel gives the caller by itself.
bool IsCallersError(int error_number);

// How an open file reads, relative to the container's root. Empty: it has no name.
std::string NameOf(BorrowedFd fd, std::string_view root_text);
// How the root of `thread` reads; nothing where it has ended.
std::optional<std::string> RootText(pid_t thread);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HANDLERS_RESOLVE_H_
