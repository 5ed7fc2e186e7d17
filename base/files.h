// Whole files: read with a cap, written atomically, and trusted only when nobody else can write
// them. Thread-safe.
#ifndef LANDGATE_BASE_FILES_H_
#define LANDGATE_BASE_FILES_H_

#include <sys/types.h>

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate {

inline constexpr size_t kMaxDocumentBytes = size_t{8} << 20;  // config.json, state, policies

// Reads to EOF. EFBIG when there is more than `limit` bytes.
Result<std::string> ReadAll(BorrowedFd fd, size_t limit = kMaxDocumentBytes);
// Opens (O_NONBLOCK so that a FIFO can't hang us; regular files only) and reads a whole file.
Result<std::string> ReadFile(const std::string& path, size_t limit = kMaxDocumentBytes);
// Writes every byte; EINTR and short writes are continued.
Status WriteAll(BorrowedFd fd, std::string_view bytes);
// Writes a temporary file in the same directory, fsyncs nothing, and renames it over `path`.
Status WriteFileAtomically(const std::string& path, std::string_view bytes, mode_t mode);

// A file whose content may decide over a container: a regular file owned by root or by `owner`,
// not writable by group or others, in directories up to / of which the same holds (a directory
// that others can write is accepted when it is sticky and what lies in it is owned by root or
// `owner`). The owner and mode are those of the opened file; symlinks are followed, and the
// directories of every link on the way are checked like those of the path itself.
// In a user namespace that does not map the host's root, files of the host's root show the
// overflow uid; it is accepted there as root is elsewhere.
// Errors: ENOENT as itself; anything else names the path that others can write and the remedy.
Result<std::string> ReadTrustedFile(const std::string& path, uid_t owner,
                                    size_t limit = kMaxDocumentBytes);

// A directory that nobody but root and `owner` can put anything into, in directories of which the
// same holds as above. Errors as above.
Status CheckTrustedDirectory(const std::string& path, uid_t owner);

// mkdir -p with `mode` for each directory that is made. EEXIST is not an error.
Status MakeDirectories(const std::string& path, mode_t mode);

// True in a user namespace that does not map every uid of the host: a rootless engine.
bool InRootlessUserNamespace();

}  // namespace landgate

#endif  // LANDGATE_BASE_FILES_H_
