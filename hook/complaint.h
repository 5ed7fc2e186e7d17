// Where a hook says why it refuses.
//
// runc puts a failed hook's stderr into its own message. podman (precreate) and crun give hooks
// /dev/null for stderr and tell the user only an exit status. There the line goes to the standard
// error of the program that started the hook, where the user is looking, and to syslog.
// Not thread-safe.
#ifndef LANDGATE_HOOK_COMPLAINT_H_
#define LANDGATE_HOOK_COMPLAINT_H_

#include "base/result.h"

namespace landgate::hook {

// Says "landgate-hook: MESSAGE" and returns the exit status of `error`.
int Complain(const Error& error);

}  // namespace landgate::hook

#endif  // LANDGATE_HOOK_COMPLAINT_H_
