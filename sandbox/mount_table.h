// The mounts of the calling process's mount namespace, from /proc/self/mountinfo (proc(5)).
// Parsing is pure; reading takes about 2 µs a mount. Thread-safe.
#ifndef LANDGATE_SANDBOX_MOUNT_TABLE_H_
#define LANDGATE_SANDBOX_MOUNT_TABLE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"

namespace landgate::sandbox {

struct Mount {
  uint64_t id = 0;
  uint64_t parent = 0;
  uint32_t major = 0;  // of the super block; a file's st_dev may differ (btrfs, overlayfs)
  uint32_t minor = 0;
  std::string root;   // what of the file system is mounted
  std::string point;  // where, seen from the process's root
  bool shared = false;
  std::string type;
};

class MountTable {
 public:
  explicit MountTable(std::vector<Mount> mounts);
  const std::vector<Mount>& mounts() const { return mounts_; }
  const Mount* Find(uint64_t id) const;

 private:
  std::vector<Mount> mounts_;
  std::unordered_map<uint64_t, size_t> by_id_;
};

// A line that is not as proc(5) has it is an error: a mount that we don't understand could be
// another way to a denied object.
Result<MountTable> ParseMountInfo(std::string_view text);
Result<MountTable> ReadMountTable();

// Where else something can be seen.
struct OtherName {
  std::string path;       // seen from the process's root
  std::string beneath;    // "" for the same object; else what lies that far beneath it: "/sub"
  uint64_t mount_id = 0;  // the mount by which it is seen, if nothing is mounted over it
};
// All other names of the object that is seen at `path` through the mount `mount_id`, and of
// everything beneath it that is the root of a mount elsewhere. Names at or beneath `path` itself
// are left out.
std::vector<OtherName> OtherNames(const MountTable& table, std::string_view path,
                                  uint64_t mount_id);

}  // namespace landgate::sandbox

#endif  // LANDGATE_SANDBOX_MOUNT_TABLE_H_
