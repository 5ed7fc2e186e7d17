#include "hook/over_mount.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <string_view>

#include "base/paths.h"
#include "base/syscalls.h"
#include "sandbox/mount_table.h"
#include "sandbox/resolve.h"

namespace landgate::hook {
namespace {

constexpr std::string_view kWayOut =
    "; have the configuration patched instead (podman's precreate hook, `landgate-hook inject "
    "--bundle DIR`, or landgate-runtime)";

// Where the runtime looks, in its order. "" and "." in PATH are the working directory.
std::vector<std::string> Candidates(const Entrypoint& entrypoint) {
  const auto at = [&entrypoint](std::string_view directory) {
    std::string path(directory);
    if (!path.starts_with('/')) path = entrypoint.cwd + "/" + path;
    return path + "/" + entrypoint.name;
  };
  if (entrypoint.name.starts_with('/')) return {entrypoint.name};
  if (entrypoint.name.find('/') != std::string::npos) return {at("")};
  std::vector<std::string> candidates;
  constexpr std::string_view kPath = "PATH=";
  for (const std::string& variable : entrypoint.env) {
    if (!variable.starts_with(kPath)) continue;
    std::string_view rest = std::string_view(variable).substr(kPath.size());
    while (true) {
      const size_t end = rest.find(':');
      candidates.push_back(at(rest.substr(0, end)));
      if (end == std::string_view::npos) break;
      rest.remove_prefix(end + 1);
    }
  }
  return candidates;
}

// Nobody may: the kernel wants such a bit even for CAP_DAC_OVERRIDE, and an access control list
// shows its mask there. Who may is for the runtime to find out, as the process's user.
bool NobodyMayExecute(const struct statx& st) {
  return !S_ISREG(st.stx_mode) || (st.stx_mode & 0111) == 0;
}

class OverMounter {
 public:
  OverMounter(BorrowedFd root, BorrowedFd launcher, sandbox::MountTable table)
      : root_(root), launcher_(launcher), table_(std::move(table)) {}

  Status Place(const std::string& candidate) {
    const std::string clean = Clean(candidate);
    Result<UniqueFd> file =
        Openat2(root_, clean.c_str(), O_PATH, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
    if (!file) {
      const int error = file.error().error_number;
      // As the runtime's search: what is not there is passed over.
      if (error == ENOENT || error == ENOTDIR || error == EACCES) return {};
      return Context(clean, file);
    }
    struct statx st;
    if (statx(file->get(), "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, &st) < 0) {
      return SystemError(clean, errno);
    }
    if (NobodyMayExecute(st)) return {};
    const sandbox::ObjectId object{st.stx_dev_major, st.stx_dev_minor, st.stx_ino};
    // The same file by another name: it is covered already, and what we see is the launcher.
    if (std::find(covered_.begin(), covered_.end(), st.stx_mnt_id) != covered_.end()) return {};
    const sandbox::Mount* mount = table_.Find(st.stx_mnt_id);
    if (!mount) return Refuse(clean + ": stands on a mount that is not the container's");
    if (mount->shared) {
      return Refuse(clean + ": the entrypoint stands on a shared mount (" + mount->point +
                    "), and a mount over it would reach the host" + std::string(kWayOut));
    }
    return Cover(clean, *file, object);
  }

  std::vector<node::OverMount> Take() { return std::move(placed_); }

 private:
  // The first stands where it came from; a detached mount can't be cloned before Linux 6.15, so the
  // others are clones of that one.
  Status Cover(const std::string& path, BorrowedFd file, const sandbox::ObjectId& object) {
    UniqueFd clone;
    if (!placed_.empty()) {
      Result<UniqueFd> cloned = CloneTree(launcher_, "", false);
      if (!cloned) return Context(path, cloned);
      clone = std::move(*cloned);
    }
    const BorrowedFd mount = placed_.empty() ? launcher_ : BorrowedFd(clone);
    const uint64_t flags = abi::kMountAttrRdonly | abi::kMountAttrNosuid | abi::kMountAttrNodev;
    if (Status ok = MountSetattr(mount, flags, 0, MS_PRIVATE, false); !ok) {
      return Context(path, ok);
    }
    if (Status ok = MoveMountOnto(mount, file); !ok) return Context(path, ok);
    struct statx st;
    if (statx(mount.get(), "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0) {
      return SystemError(path, errno);
    }
    covered_.push_back(st.stx_mnt_id);
    placed_.push_back(node::OverMount{path, object, st.stx_mnt_id});
    return {};
  }

  BorrowedFd root_;
  BorrowedFd launcher_;
  const sandbox::MountTable table_;
  std::vector<uint64_t> covered_;
  std::vector<node::OverMount> placed_;
};

}  // namespace

Status CheckCandidates(BorrowedFd root, const Entrypoint& entrypoint) {
  for (const std::string& candidate : Candidates(entrypoint)) {
    const std::string clean = Clean(candidate);
    const Result<UniqueFd> file = Openat2(
        root, clean.c_str(), O_PATH, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV);
    // Other failures are judged when the launcher is placed.
    if (file || file.error().error_number != EXDEV) continue;
    return Refuse("process.args: \"" + entrypoint.name + "\": the runtime looks for it at " +
                  clean +
                  ", through a mount of its own (a volume): who has it elsewhere could put another "
                  "program there before the container starts, and that would run unconfined" +
                  std::string(kWayOut));
  }
  return {};
}

Result<std::vector<node::OverMount>> PlaceOverMounts(BorrowedFd root, const Entrypoint& entrypoint,
                                                     BorrowedFd launcher) {
  Result<sandbox::MountTable> table = sandbox::ReadMountTable();
  if (!table) return Forward(table);
  OverMounter mounter(root, launcher, std::move(*table));
  for (const std::string& candidate : Candidates(entrypoint)) {
    if (Status ok = mounter.Place(candidate); !ok) return Forward(ok);
  }
  std::vector<node::OverMount> placed = mounter.Take();
  if (placed.empty()) {
    return Refuse("process.args: \"" + entrypoint.name +
                  "\": the launcher has nothing to stand in for: there is no such program in the "
                  "container that anybody may execute" +
                  std::string(kWayOut));
  }
  return placed;
}

}  // namespace landgate::hook
