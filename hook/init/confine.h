// Confines the calling process by the plan, in two steps so that the workload can be looked up with
// its final identity before the filter may deny what looking up needs.
//
// The caller must be single threaded. Nothing else of the process changes: no descriptor stays
// open, and environment, signal mask and dispositions, working directory and rlimits are left
// alone. On failure some restrictions may stand; the caller must not go on to a workload.
#ifndef LANDGATE_HOOK_INIT_CONFINE_H_
#define LANDGATE_HOOK_INIT_CONFINE_H_

#include <string>
#include <vector>

#include "base/result.h"
#include "sandbox/landlock.h"
#include "sandbox/plan.h"

namespace landgate::init {

// Reads the plan beside the launcher, once.
Result<sandbox::Plan> ReadPlan();

// no_new_privs, capabilities and the Landlock layers; nothing where the plan has none. Paths that
// were out of reach are appended to `skipped`. When it returns, whether well or not, every
// descriptor that it opened is closed.
Status Confine(const sandbox::Plan& plan, sandbox::Session session,
               std::vector<std::string>* skipped);

// The filter: the last act before execve, because it may deny anything else.
Status CloseSyscalls(const sandbox::Plan& plan);

}  // namespace landgate::init

#endif  // LANDGATE_HOOK_INIT_CONFINE_H_
