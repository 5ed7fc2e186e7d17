// Which file system object a name leads to, and whether it is a mount of its own. Thread-safe.
#ifndef LANDGATE_SANDBOX_OBJECT_H_
#define LANDGATE_SANDBOX_OBJECT_H_

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sandbox/plan.h"

namespace landgate::sandbox {

Result<ObjectId> IdentifyFile(BorrowedFd fd);
// Follows symlinks, /proc's own included.
Result<ObjectId> IdentifyFile(const std::string& path);

// Opens `path` (relative to `root`, never through a symlink) with O_PATH and makes sure that it is
// `expected` and the root of a mount (Linux 5.8). `name` is for messages.
Result<UniqueFd> OpenMounted(BorrowedFd root, const char* path, const ObjectId& expected,
                             const std::string& name);

}  // namespace landgate::sandbox

#endif  // LANDGATE_SANDBOX_OBJECT_H_
