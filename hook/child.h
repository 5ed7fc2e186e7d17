// Child processes of the hook programs.
#ifndef LANDGATE_HOOK_CHILD_H_
#define LANDGATE_HOOK_CHILD_H_

#include <sys/types.h>

#include "base/result.h"

namespace landgate::hook {

// Reaps `child` and returns its status as waitpid(2) has it; EINTR is retried.
Result<int> WaitForChild(pid_t child);

}  // namespace landgate::hook

#endif  // LANDGATE_HOOK_CHILD_H_
