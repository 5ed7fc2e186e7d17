// What a deny's glob matches at the moment when a container starts.
//
// The tree below the pattern's literal prefix is walked: symlinks are not followed, /proc and /sys
// not entered, other mounts are. What lies beneath a match is not looked at, the deny covers it.
#ifndef LANDGATE_SANDBOX_GLOB_EXPAND_H_
#define LANDGATE_SANDBOX_GLOB_EXPAND_H_

#include <cstddef>
#include <string>
#include <vector>

#include "base/result.h"
#include "sandbox/resolve.h"

namespace landgate::sandbox {

// Start-up must stay bounded whatever a volume holds: about 100 ms of walking, 60 ms of mounting.
inline constexpr size_t kMaxGlobEntries = 100000;
inline constexpr size_t kMaxGlobMatches = 2000;

struct GlobMatches {
  std::vector<std::string> paths;     // resolved, sorted
  std::vector<std::string> symlinks;  // match by name, but a mask can't stand on a symlink
};

// `prefix` is resolved and a directory; `pattern` is clean and absolute, `prefix_depth` components
// of it stand for `prefix`. `entries` counts across several globs. Refused: a limit is reached.
Result<GlobMatches> ExpandGlob(ContainerRoot& root, const std::string& prefix,
                               const std::string& pattern, size_t prefix_depth, size_t* entries);

// True where a character or block device lies at or beneath `directory`; bounded as above.
Result<bool> HoldsDevices(ContainerRoot& root, const std::string& directory);

}  // namespace landgate::sandbox

#endif  // LANDGATE_SANDBOX_GLOB_EXPAND_H_
