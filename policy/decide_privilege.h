// Capabilities and system calls. Pure, total; thread-safe. Denials are EPERM.
#ifndef LANDGATE_POLICY_DECIDE_PRIVILEGE_H_
#define LANDGATE_POLICY_DECIDE_PRIVILEGE_H_

#include <string_view>

#include "policy/decision.h"
#include "policy/document.h"

namespace landgate::policy {

// May a process that the engine gave `capability` go on having it? A capability both kept and asked
// for is asked for. With `keep`, one that is not named, or that has no name here, is denied.
Decision DecideCapability(const Policy& policy, int capability);
// Does the policy deny this system call by name? The mount API is denied under every policy
// (kUnsupported, no rule). Arguments, and what a network or capabilities section adds, are the
// filter's business.
Decision DecideSyscall(const Policy& policy, std::string_view name);

}  // namespace landgate::policy

#endif  // LANDGATE_POLICY_DECIDE_PRIVILEGE_H_
