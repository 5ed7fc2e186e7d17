#include "sandbox/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <string>

#include "base/linux_abi.h"
#include "base/paths.h"
#include "base/syscalls.h"

namespace landgate::sandbox {
namespace {

// A kernel before ABI 4 or 6 takes a longer structure only where the rest is zero, and one before
// that not at all: pass what the layer needs and no more.
size_t AttrSize(const PlannedLayer& layer) {
  if (layer.scoped) return sizeof(abi::LandlockRulesetAttr);
  if (layer.handled_net) return offsetof(abi::LandlockRulesetAttr, scoped);
  return offsetof(abi::LandlockRulesetAttr, handled_access_net);
}

// What openat2 with RESOLVE_NO_SYMLINKS does, one component at a time.
Result<UniqueFd> WalkWithoutSymlinks(BorrowedFd root, const std::string& path) {
  UniqueFd here(openat(root.get(), ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!here.valid()) return SystemError(path, errno);
  for (const std::string_view component : Components(path)) {
    const std::string name(component);
    UniqueFd next(openat(here.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!next.valid()) return SystemError(path, errno);
    struct stat st;
    if (fstat(next.get(), &st) < 0) return SystemError(path, errno);
    if (S_ISLNK(st.st_mode)) return SystemError(path, ELOOP);
    here = std::move(next);
  }
  return here;
}

Result<UniqueFd> OpenWithoutSymlinks(BorrowedFd root, const std::string& path) {
  const char* relative = path == "/" ? "." : path.c_str() + 1;
  Result<UniqueFd> fd =
      Openat2(root, relative, O_PATH, 0, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
  if (fd) return fd;
  // ENOSYS: before Linux 5.6. EPERM: seccomp profiles written before it answer that.
  const int error = fd.error().error_number;
  if (error == ENOSYS || error == EPERM) return WalkWithoutSymlinks(root, path);
  return SystemError(path, error);
}

enum class Outcome { kAdded, kSkipped };

Result<Outcome> AddPath(BorrowedFd ruleset, const PlannedLayer& layer, const PlannedPath& planned,
                        BorrowedFd root, Session session) {
  const Result<UniqueFd> fd = OpenWithoutSymlinks(root, planned.path);
  if (!fd) {
    const int error = fd.error().error_number;
    const bool out_of_reach = error == EACCES;
    const bool gone = error == ENOENT || error == ENOTDIR || error == ELOOP;
    if (!planned.required && (out_of_reach || (gone && session == Session::kExec))) {
      return Outcome::kSkipped;
    }
    return Failure(fd.error());
  }
  struct statx stx;
  if (statx(fd->get(), "", AT_EMPTY_PATH, STATX_TYPE | STATX_INO, &stx) < 0) {
    return SystemError(planned.path, errno);
  }
  if (session == Session::kStart && planned.object &&
      *planned.object != ObjectId{stx.stx_dev_major, stx.stx_dev_minor, stx.stx_ino}) {
    return Refuse(planned.path +
                  ": another object than the one that was there when the policy was "
                  "compiled; start the container again");
  }
  uint64_t rights = planned.rights & layer.handled_fs;
  if (!S_ISDIR(stx.stx_mode)) rights &= abi::kFsFileRights;
  if (!rights) return Outcome::kAdded;  // a rule that grants nothing is ENOMSG, and needs none
  if (Status added = LandlockAddPathRule(ruleset, *fd, rights); !added) {
    return Context(planned.path, added);
  }
  return Outcome::kAdded;
}

Result<UniqueFd> Build(const PlannedLayer& layer, BorrowedFd root, Session session,
                       std::vector<std::string>* skipped) {
  const abi::LandlockRulesetAttr attr{layer.handled_fs, layer.handled_net, layer.scoped};
  Result<UniqueFd> ruleset = LandlockCreateRuleset(attr, AttrSize(layer));
  if (!ruleset) return ruleset;
  for (const PlannedPath& path : layer.paths) {
    Result<Outcome> outcome = AddPath(*ruleset, layer, path, root, session);
    if (!outcome) return Forward(outcome);
    if (*outcome == Outcome::kSkipped && skipped) skipped->push_back(path.path);
  }
  for (const PlannedPort& port : layer.ports) {
    const uint64_t rights = port.rights & layer.handled_net;
    if (!rights) continue;
    if (Status added = LandlockAddPortRule(*ruleset, port.port, rights); !added) {
      return Context("port " + std::to_string(port.port), added);
    }
  }
  return ruleset;
}

}  // namespace

Result<UniqueFd> BuildLayer(const PlannedLayer& layer, BorrowedFd root, Session session,
                            std::vector<std::string>* skipped) {
  Result<UniqueFd> ruleset = Build(layer, root, session, skipped);
  if (!ruleset) return Context("policy " + layer.name, ruleset);
  return ruleset;
}

Status RestrictSelf(BorrowedFd layer) { return LandlockRestrictSelf(layer, 0); }

}  // namespace landgate::sandbox
