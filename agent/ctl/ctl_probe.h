// What this kernel can do, found by trying it. Each trial runs in a forked child and leaves nothing
// behind. Call from a single-threaded process.
#ifndef LANDGATE_AGENT_CTL_CTL_PROBE_H_
#define LANDGATE_AGENT_CTL_CTL_PROBE_H_

#include <string>

namespace landgate::ctl {

// Empty: it works. Else what failed, in words.
//
// A Landlock domain without a rule denies reading a file (Linux 5.13).
std::string TryLandlock();
// A filter with SECCOMP_RET_ERRNO answers the call it names.
std::string TrySeccompFilter();
// A filter with a listener (Linux 5.0): a call is notified, received and answered.
std::string TrySeccompListener();
// open_tree, mount_setattr, move_mount (Linux 5.12) in a private mount namespace: a file is masked.
std::string TryMountApi();
// unshare(CLONE_NEWUSER).
std::string TryUserNamespace();

// Why Landlock's ABI is 0: not built in, not enabled at boot, or denied by the filter around us.
std::string WhyNoLandlock();

}  // namespace landgate::ctl

#endif  // LANDGATE_AGENT_CTL_CTL_PROBE_H_
