// Paths in a container's root: what a rule's path leads to, without ever leaving the root.
//
// The root may be a tree that nobody has pivoted into yet, so ".." and absolute symlinks stay in
// it: the kernel sees to the object (openat2 with RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
// Linux 5.6), we walk the same way component by component for the text, and the two must agree. Not
// thread-safe: answers are remembered, because the tree is looked at once, at one moment.
#ifndef LANDGATE_SANDBOX_RESOLVE_H_
#define LANDGATE_SANDBOX_RESOLVE_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <unordered_map>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sandbox/plan.h"
#include "sandbox/rights_algebra.h"

namespace landgate::sandbox {

// As the kernel: the 41st symlink is ELOOP.
inline constexpr int kMaxSymlinks = 40;

struct Object {
  std::string path;  // no symlink in it
  ObjectId id;
  uint64_t mount_id = 0;
  mode_t mode = 0;
  uint32_t links = 0;
  bool by_symlink = false;  // the last component of the path as given was a symlink

  bool IsDirectory() const;
  bool IsSymlink() const;
  ObjectType Type() const;
};

// statx(2) of an open file; `path` is for the answer and for messages. Linux 5.8 (mount id).
Result<Object> DescribeFd(BorrowedFd fd, const std::string& path);

class ContainerRoot {
 public:
  explicit ContainerRoot(BorrowedFd root) : root_(root) {}

  // What `path` (clean, absolute) leads to, symlinks followed. Nothing: it is missing.
  // Refused: more than 40 symlinks, a symlink of procfs (its target is another for every reader).
  Result<std::optional<Object>> Resolve(const std::string& path);
  // What is at a path without symlinks. Nothing: missing, or a symlink is in it; the last component
  // may be one. Remembered.
  Result<std::optional<Object>> Lookup(const std::string& path);
  // The object at a path without symlinks, opened with O_PATH and `flags`.
  Result<UniqueFd> Open(const std::string& path, int flags) const;

 private:
  BorrowedFd root_;
  std::unordered_map<std::string, std::optional<Object>> known_;
};

}  // namespace landgate::sandbox

#endif  // LANDGATE_SANDBOX_RESOLVE_H_
