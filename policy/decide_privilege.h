// Capabilities and system calls. Pure, total.
#ifndef LANDGATE_POLICY_DECIDE_PRIVILEGE_H_
#define LANDGATE_POLICY_DECIDE_PRIVILEGE_H_

#include <string_view>

#include "policy/decision.h"
#include "policy/document.h"

namespace landgate::policy {

// May a process that the engine gave `capability` go on having it?
Decision DecideCapability(const Policy& policy, int capability);
// Does the policy deny this system call by name (EPERM)? Arguments are the filter's business.
Decision DecideSyscall(const Policy& policy, std::string_view name);

}  // namespace landgate::policy

#endif  // LANDGATE_POLICY_DECIDE_PRIVILEGE_H_
