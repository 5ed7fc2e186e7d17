// linux.seccomp merging that never weakens the engine's profile. Pure; thread-safe.
//
// libseccomp's traps this file knows of: two rules for one call merge silently (the last
// unconditional one wins), an unconditional rule swallows conditional ones, and NOTIFY is refused
// on `write` and as defaultAction by runc. So our names are taken out of the engine's entries,
// entries with arguments are split by name, and every name of ours then stands in exactly one rule.
#ifndef LANDGATE_OCI_SPECS_SECCOMP_PROFILE_H_
#define LANDGATE_OCI_SPECS_SECCOMP_PROFILE_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"

namespace landgate::oci {

// What the launcher needs from an engine's profile: landlock_*, prctl, capset, capget, seccomp, openat2, statx.
extern const std::vector<std::string> kLauncherSyscalls;

struct ProfileChange {
  std::vector<std::string> opened;  // of kLauncherSyscalls, those the profile had denied
  int profile_errno = 1;            // defaultErrnoRet, or EPERM
};

// Opens what the launcher needs, idempotently: the additions stand in one last entry of `syscalls`
// that names nothing else.
Result<ProfileChange> OpenForLauncher(nlohmann::ordered_json& seccomp);

// Adds NOTIFY for `names`, conditionally allowed calls included. A call that the profile denies is
// left denied (what the engine's profile denies is never granted by a notification).
Status AddNotify(nlohmann::ordered_json& seccomp, const std::vector<std::string>& names);

}  // namespace landgate::oci

#endif  // LANDGATE_OCI_SPECS_SECCOMP_PROFILE_H_
